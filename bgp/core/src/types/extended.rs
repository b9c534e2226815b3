//! Extended communities (RFC 4360, RFC 5668) and those with an IPv6 address (RFC 5701).
//!
//! Route targets and route origins have words, everything else is hexadecimal: which text stands
//! for which octets can be read off both ways.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::community::as_text;

/// An extended community, eight octets with its type (RFC 4360, 2): `rt:65000:100`,
/// `soo:192.0.2.1:100`, `rt:65000L:100` for an AS number of four octets that would fit two, and
/// `0x` with sixteen digits for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// An IPv6 address specific extended community, twenty octets with its type (RFC 5701, 2):
/// `rt:2001:db8::1:100`, where the last number is the local administrator's, or `0x` with forty
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6ExtendedCommunity(pub [u8; 20]);

const TWO_OCTET_AS: u8 = 0x00; // RFC 4360, 3.1
const IPV4_ADDRESS: u8 = 0x01; // RFC 4360, 3.2
const FOUR_OCTET_AS: u8 = 0x02; // RFC 5668, 2
const IPV6_ADDRESS: u8 = 0x00; // RFC 5701, 2

/// The subtypes that all of these share (RFC 4360, 4 and 5).
const SUBTYPES: [(u8, &str); 2] = [(0x02, "rt"), (0x03, "soo")];

fn word(subtype: u8) -> Option<&'static str> {
    let found = SUBTYPES.iter().find(|(known, _)| *known == subtype);
    found.map(|(_, word)| *word)
}

fn subtype(word: &str) -> Option<u8> {
    let found = SUBTYPES.iter().find(|(_, known)| *known == word);
    found.map(|(subtype, _)| *subtype)
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, sub, a, b, c, d, e, g] = self.0;
        match (kind, word(sub)) {
            (TWO_OCTET_AS, Some(word)) => {
                let asn = u16::from_be_bytes([a, b]);
                write!(f, "{word}:{asn}:{}", u32::from_be_bytes([c, d, e, g]))
            }
            (IPV4_ADDRESS, Some(word)) => {
                let address = Ipv4Addr::new(a, b, c, d);
                write!(f, "{word}:{address}:{}", u16::from_be_bytes([e, g]))
            }
            (FOUR_OCTET_AS, Some(word)) => {
                let asn = u32::from_be_bytes([a, b, c, d]);
                let mark = if asn <= u16::MAX.into() { "L" } else { "" };
                write!(f, "{word}:{asn}{mark}:{}", u16::from_be_bytes([e, g]))
            }
            _ => hexadecimal(f, &self.0),
        }
    }
}

impl fmt::Display for Ipv6ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, sub, address @ .., high, low] = self.0;
        match (kind, word(sub)) {
            (IPV6_ADDRESS, Some(word)) => {
                let address = Ipv6Addr::from(address);
                write!(f, "{word}:{address}:{}", u16::from_be_bytes([high, low]))
            }
            _ => hexadecimal(f, &self.0),
        }
    }
}

fn hexadecimal(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// Why a text is not an extended community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an extended community: expected {expected}")]
pub struct ExtendedCommunityError {
    text: String,
    expected: &'static str,
}

impl FromStr for ExtendedCommunity {
    type Err = ExtendedCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        from_hexadecimal(text)
            .or_else(|| parse(text))
            .map(Self)
            .ok_or_else(|| ExtendedCommunityError {
                text: text.to_owned(),
                expected: "`rt:` or `soo:` with `AS:NUMBER` or `ADDRESS:NUMBER`, or `0x` and 16 \
                           digits",
            })
    }
}

impl FromStr for Ipv6ExtendedCommunity {
    type Err = ExtendedCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        from_hexadecimal(text)
            .or_else(|| parse_ipv6(text))
            .map(Self)
            .ok_or_else(|| ExtendedCommunityError {
                text: text.to_owned(),
                expected: "`rt:` or `soo:` with `ADDRESS:NUMBER`, or `0x` and 40 digits",
            })
    }
}

fn parse(text: &str) -> Option<[u8; 8]> {
    let (word, rest) = text.split_once(':')?;
    let sub = subtype(word)?;
    let (administrator, number) = rest.split_once(':')?;
    if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        let ([a, b, c, d], [e, f]) = (address.octets(), number.parse::<u16>().ok()?.to_be_bytes());
        return Some([IPV4_ADDRESS, sub, a, b, c, d, e, f]);
    }
    let four = administrator.strip_suffix('L');
    let asn: u32 = four.unwrap_or(administrator).parse().ok()?;
    match u16::try_from(asn) {
        Ok(asn) if four.is_none() => {
            let ([a, b], [c, d, e, f]) =
                (asn.to_be_bytes(), number.parse::<u32>().ok()?.to_be_bytes());
            Some([TWO_OCTET_AS, sub, a, b, c, d, e, f])
        }
        _ => {
            let ([a, b, c, d], [e, f]) =
                (asn.to_be_bytes(), number.parse::<u16>().ok()?.to_be_bytes());
            Some([FOUR_OCTET_AS, sub, a, b, c, d, e, f])
        }
    }
}

fn parse_ipv6(text: &str) -> Option<[u8; 20]> {
    let (word, rest) = text.split_once(':')?;
    let (address, number) = rest.rsplit_once(':')?;
    let (address, number) = (
        address.parse::<Ipv6Addr>().ok()?,
        number.parse::<u16>().ok()?,
    );
    let mut octets = [0; 20];
    let [kind, sub, middle @ .., high, low] = &mut octets;
    (*kind, *sub) = (IPV6_ADDRESS, subtype(word)?);
    *middle = address.octets();
    [*high, *low] = number.to_be_bytes();
    Some(octets)
}

fn from_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(octets)
}

as_text!(ExtendedCommunity, Ipv6ExtendedCommunity);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stand_for_the_octets_their_rfc_draws() {
        for (text, octets) in [
            ("rt:65002:100", [0, 2, 0xFD, 0xEA, 0, 0, 0, 100]),
            (
                "soo:65002:4294967295",
                [0, 3, 0xFD, 0xEA, 255, 255, 255, 255],
            ),
            ("rt:192.0.2.1:7", [1, 2, 192, 0, 2, 1, 0, 7]),
            ("rt:4200000001:7", [2, 2, 0xFA, 0x56, 0xEA, 1, 0, 7]),
            ("rt:65002L:7", [2, 2, 0, 0, 0xFD, 0xEA, 0, 7]),
            (
                "0x4004fdea4e6e6b28",
                [0x40, 4, 0xFD, 0xEA, 0x4E, 0x6E, 0x6B, 0x28],
            ),
        ] {
            assert_eq!(text.parse(), Ok(ExtendedCommunity(octets)));
            assert_eq!(ExtendedCommunity(octets).to_string(), text);
        }
        let text = "rt:2001:db8::1:100";
        let community: Ipv6ExtendedCommunity = text.parse().unwrap();
        assert_eq!(community.0[..4], [0, 2, 0x20, 1]);
        assert_eq!(community.0[18..], [0, 100]);
        assert_eq!(community.to_string(), text);
        for wrong in [
            "",
            "rt",
            "rt:1",
            "rt:1:x",
            "x:1:1",
            "rt:4200000001:65536",
            "0x00",
            "rt:1:2:3",
        ] {
            assert!(wrong.parse::<ExtendedCommunity>().is_err(), "{wrong}");
            assert!(wrong.parse::<Ipv6ExtendedCommunity>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_community_reads_what_it_prints(
            kind in prop_oneof![0_u8..4, any::<u8>()],
            sub in prop_oneof![1_u8..5, any::<u8>()],
            value in any::<[u8; 6]>(),
            address in any::<[u8; 18]>(),
        ) {
            let [a, b, c, d, e, f] = value;
            let community = ExtendedCommunity([kind, sub, a, b, c, d, e, f]);
            prop_assert_eq!(community.to_string().parse(), Ok(community));
            let mut octets = [0; 20];
            octets[..2].copy_from_slice(&[kind, sub]);
            octets[2..].copy_from_slice(&address);
            let community = Ipv6ExtendedCommunity(octets);
            prop_assert_eq!(community.to_string().parse(), Ok(community));
        }
    }
}
