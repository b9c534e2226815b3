//! Extended communities (RFC 4360) as text.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |I|T| type high |  type low     |          Value                |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Route targets (`rt:`) and route origins (`ro:`, `soo:`) have words of their own; everything
//! else is written as its sixteen hexadecimal digits, and matched by the first ones of them.

use std::{fmt, net::Ipv4Addr};

use super::{TextError, number::Numbers};

/// Type of a two-octet AS number and four octets of value (RFC 4360, 3.1).
const TWO_OCTET_AS: u8 = 0x00;
/// Type of an IPv4 address and two octets of value (RFC 4360, 3.2).
const IPV4: u8 = 0x01;
/// Type of a four-octet AS number and two octets of value (RFC 5668, 2).
const FOUR_OCTET_AS: u8 = 0x02;
/// "T - Transitive bit ... Value 1: The community is non-transitive across ASes" (RFC 4360, 2).
const NON_TRANSITIVE: u8 = 0x40;

/// What a route target or origin is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sub-type 2 (RFC 4360, 4).
    RouteTarget,
    /// Sub-type 3 (RFC 4360, 5).
    RouteOrigin,
}

/// Which extended communities are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExtendedPattern {
    /// `rt:AS:N`, in both encodings of an AS number.
    As(Kind, Numbers, Numbers),
    /// `rt:ADDRESS:N`
    Address(Kind, Ipv4Addr, Numbers),
    /// `0x4004*`: those that begin with these digits, four bits each.
    Digits {
        /// The digits, one in each item.
        digits: Vec<u8>,
    },
    /// Those that must not leave the AS (RFC 4360, 2).
    NonTransitive,
}

impl Kind {
    fn sub_type(self) -> u8 {
        match self {
            Self::RouteTarget => 2,
            Self::RouteOrigin => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::RouteTarget => "rt",
            Self::RouteOrigin => "ro",
        }
    }
}

impl ExtendedPattern {
    /// Reads a pattern; `None` when the text is not about extended communities at all.
    pub(super) fn read(text: &str) -> Option<Result<Self, TextError>> {
        if text == "non-transitive" {
            return Some(Ok(Self::NonTransitive));
        }
        if let Some(digits) = text.strip_prefix("0x") {
            return Some(read_digits(digits).ok_or_else(|| {
                TextError::new(
                    text,
                    "16 hexadecimal digits after `0x`, or the first ones and `*`",
                )
            }));
        }
        let (kind, rest) = text.split_once(':')?;
        let kind = match kind {
            "rt" => Kind::RouteTarget,
            "ro" | "soo" => Kind::RouteOrigin,
            _ => return None,
        };
        let expected = "`rt:AS:NUMBER` or `rt:ADDRESS:NUMBER` (`ro:` for a route origin), where the number \
                        behind an address or an AS past 65535 is at most 65535";
        Some(read_kind(kind, rest).ok_or_else(|| TextError::new(text, expected)))
    }

    pub(super) fn matches(&self, octets: [u8; 8]) -> bool {
        let [high, low, a, b, c, d, e, f] = octets;
        match self {
            Self::As(kind, asn, value) => {
                low == kind.sub_type()
                    && match high {
                        TWO_OCTET_AS => {
                            asn.contains(u16::from_be_bytes([a, b]).into())
                                && value.contains(u32::from_be_bytes([c, d, e, f]))
                        }
                        FOUR_OCTET_AS => {
                            asn.contains(u32::from_be_bytes([a, b, c, d]))
                                && value.contains(u16::from_be_bytes([e, f]).into())
                        }
                        _ => false,
                    }
            }
            Self::Address(kind, addr, value) => {
                (high, low) == (IPV4, kind.sub_type())
                    && addr.octets() == [a, b, c, d]
                    && value.contains(u16::from_be_bytes([e, f]).into())
            }
            Self::Digits { digits } => octets
                .iter()
                .flat_map(|octet| [octet >> 4, octet & 0xF])
                .zip(digits)
                .all(|(found, wanted)| found == *wanted),
            Self::NonTransitive => high & NON_TRANSITIVE != 0,
        }
    }

    /// The only community it means, when that is but one.
    pub(super) fn single(&self) -> Option<[u8; 8]> {
        match self {
            Self::As(kind, asn, value) => {
                let (asn, value, low) = (asn.single()?, value.single()?, kind.sub_type());
                let [a, b, c, d] = asn.to_be_bytes();
                let [e, f, g, h] = value.to_be_bytes();
                Some(match (a, b) {
                    (0, 0) => [TWO_OCTET_AS, low, c, d, e, f, g, h],
                    _ => [FOUR_OCTET_AS, low, a, b, c, d, g, h],
                })
            }
            Self::Address(kind, addr, value) => {
                let [a, b, c, d] = addr.octets();
                let [_, _, e, f] = value.single()?.to_be_bytes();
                Some([IPV4, kind.sub_type(), a, b, c, d, e, f])
            }
            Self::Digits { digits } => {
                let mut octets = [0; 8];
                if digits.len() != 16 {
                    return None;
                }
                for (octet, pair) in octets.iter_mut().zip(digits.as_chunks::<2>().0) {
                    let [high, low] = *pair;
                    *octet = high << 4 | low;
                }
                Some(octets)
            }
            Self::NonTransitive => None,
        }
    }
}

fn read_digits(text: &str) -> Option<ExtendedPattern> {
    let digits = text.strip_suffix('*');
    let open = digits.is_some();
    let digits = digits.unwrap_or(text);
    let read: Option<Vec<u8>> = digits
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let digits = read.filter(|read| read.len() == 16 || (open && read.len() < 16))?;
    Some(ExtendedPattern::Digits { digits })
}

fn read_kind(kind: Kind, text: &str) -> Option<ExtendedPattern> {
    let (admin, value) = text.rsplit_once(':').unwrap_or((text, "*"));
    let value: Numbers = value.parse().ok()?;
    if let Ok(addr) = admin.parse() {
        return (value.largest() <= 0xFFFF).then_some(ExtendedPattern::Address(kind, addr, value));
    }
    let asn: Numbers = admin.parse().ok()?;
    let fits = asn.single().is_none_or(|asn| asn <= 0xFFFF) || value.largest() <= 0xFFFF;
    fits.then_some(ExtendedPattern::As(kind, asn, value))
}

/// Writes a community in the notation it is read from.
pub(super) fn write(octets: [u8; 8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [high, low, a, b, c, d, e, g] = octets;
    let kind = match low {
        2 => Some(Kind::RouteTarget.word()),
        3 => Some(Kind::RouteOrigin.word()),
        _ => None,
    };
    let value = u16::from_be_bytes([e, g]);
    match (high, kind) {
        (TWO_OCTET_AS, Some(kind)) => {
            let asn = u16::from_be_bytes([a, b]);
            write!(f, "{kind}:{asn}:{}", u32::from_be_bytes([c, d, e, g]))
        }
        (IPV4, Some(kind)) => write!(f, "{kind}:{}:{value}", Ipv4Addr::new(a, b, c, d)),
        // One below 65536 would read as the other encoding.
        (FOUR_OCTET_AS, Some(kind)) if (a, b) != (0, 0) => {
            write!(f, "{kind}:{}:{value}", u32::from_be_bytes([a, b, c, d]))
        }
        _ => write!(f, "0x{:016x}", u64::from_be_bytes(octets)),
    }
}

impl fmt::Display for ExtendedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::As(kind, asn, value) => write!(f, "{}:{asn}:{value}", kind.word()),
            Self::Address(kind, addr, value) => write!(f, "{}:{addr}:{value}", kind.word()),
            Self::Digits { digits } => {
                f.write_str("0x")?;
                for digit in digits {
                    write!(f, "{digit:x}")?;
                }
                f.write_str(if digits.len() < 16 { "*" } else { "" })
            }
            Self::NonTransitive => f.write_str("non-transitive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ExtendedPattern {
        ExtendedPattern::read(text).unwrap().unwrap()
    }

    #[test]
    fn text_and_octets_agree_for_every_encoding() {
        let table = [
            // RFC 4360, 3.1 and 4
            ("rt:65001:100", [0x00, 0x02, 0xFD, 0xE9, 0, 0, 0, 100]),
            // RFC 4360, 3.2 and 5
            ("ro:192.0.2.1:7", [0x01, 0x03, 192, 0, 2, 1, 0, 7]),
            // RFC 5668, 2
            (
                "rt:4200000000:7",
                [0x02, 0x02, 0xFA, 0x56, 0xEA, 0x00, 0, 7],
            ),
            ("0x4004fde900000064", [0x40, 0x04, 0xFD, 0xE9, 0, 0, 0, 100]),
        ];
        for (text, octets) in table {
            assert_eq!(read(text).single(), Some(octets), "{text}");
            assert!(read(text).matches(octets), "{text}");
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read("soo:65001:1"), read("ro:65001:1"));
    }

    #[test]
    fn an_as_number_is_found_in_either_encoding() {
        let four_octets = [0x02, 0x02, 0, 0, 0xFD, 0xE9, 0, 100];
        assert!(read("rt:65001:100").matches(four_octets));
        assert!(read("rt:*:*").matches(four_octets));
        assert!(!read("rt:65001:101").matches(four_octets));
    }

    #[test]
    fn the_t_bit_tells_what_stays_within_the_as() {
        assert!(read("non-transitive").matches([0x40, 4, 0, 0, 0, 0, 0, 0]));
        assert!(!read("non-transitive").matches([0x00, 2, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            "0x",
            "0x12",
            "0xzz*",
            "0x40040000000000000*",
            "rt:x:1",
            "rt:1",
            "rt:",
        ] {
            // `rt:1` leaves the value open, which is a pattern.
            let refused = ExtendedPattern::read(text).unwrap().is_err();
            assert_eq!(refused, text != "rt:1", "{text}");
        }
        assert!(
            ExtendedPattern::read("rt:192.0.2.1:70000")
                .unwrap()
                .is_err()
        );
        assert!(
            ExtendedPattern::read("rt:4200000000:70000")
                .unwrap()
                .is_err()
        );
        assert!(ExtendedPattern::read("65001:1").is_none());
    }
}
