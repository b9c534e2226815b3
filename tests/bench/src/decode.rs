//! Reading what a daemon sends: message framing, UPDATE fields, attributes, prefixes.
//!
//! Input comes from the program under test, so nothing here trusts a length.

use std::fmt;

use crate::{
    encode::{HEADER, MAX_MESSAGE, attr},
    prefix::{Family, Prefix},
};

/// What a daemon sent that cannot be read, with the place where reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the daemon sent a malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// One message: its type, what follows the header, and where it ends in the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
    pub(crate) end: usize,
}

/// The first whole message at `at`, or `None` when it has not all arrived.
///
/// # Errors
/// When the marker or the length is wrong.
pub(crate) fn message_at(stream: &[u8], at: usize) -> Result<Option<Message<'_>>, Malformed> {
    let rest = &stream[at.min(stream.len())..];
    let Some(header) = rest.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    if header[..16] != [0xff; 16] {
        return Err(Malformed("the marker is not all ones"));
    }
    let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
    if !(HEADER..=MAX_MESSAGE).contains(&len) {
        return Err(Malformed("the length is outside 19..4096"));
    }
    let Some(body) = rest.get(HEADER..len) else {
        return Ok(None);
    };
    Ok(Some(Message {
        kind: header[18],
        body,
        end: at + len,
    }))
}

/// The parts of an UPDATE that name routes, both families, and its attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Update<'a> {
    pub(crate) withdrawn: Routes<'a>,
    pub(crate) announced: Routes<'a>,
    /// The whole path attribute block.
    pub(crate) attributes: &'a [u8],
    /// NEXT_HOP's value.
    pub(crate) next_hop: Option<&'a [u8]>,
    /// The next hop field of MP_REACH_NLRI for IPv6: 16 bytes, or 32 with a link-local one.
    pub(crate) next_hop_v6: Option<&'a [u8]>,
}

/// NLRI of both families.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Routes<'a> {
    pub(crate) v4: &'a [u8],
    pub(crate) v6: &'a [u8],
}

impl<'a> Update<'a> {
    /// Splits an UPDATE's body.
    ///
    /// # Errors
    /// When a length points outside.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (withdrawn, rest) = counted(body).ok_or(Malformed("withdrawn routes length"))?;
        let (attributes, nlri) = counted(rest).ok_or(Malformed("path attribute length"))?;
        let mut update = Self {
            attributes,
            ..Self::default()
        };
        update.withdrawn.v4 = withdrawn;
        update.announced.v4 = nlri;
        for attribute in Attributes(attributes) {
            let Raw { code, value, .. } = attribute?;
            match code {
                attr::NEXT_HOP => update.next_hop = Some(value),
                attr::MP_REACH => {
                    let (head, rest) = value
                        .split_first_chunk::<4>()
                        .ok_or(Malformed("MP_REACH_NLRI"))?;
                    let hop = rest
                        .get(..usize::from(head[3]))
                        .ok_or(Malformed("next hop"))?;
                    let nlri = rest
                        .get(hop.len() + 1..)
                        .ok_or(Malformed("MP_REACH_NLRI"))?;
                    match head[..3] {
                        [0, 2, 1] => {
                            update.next_hop_v6 = Some(hop);
                            update.announced.v6 = nlri;
                        }
                        [0, 1, 1] => {
                            update.next_hop = Some(hop);
                            update.announced.v4 = nlri;
                        }
                        _ => return Err(Malformed("MP_REACH_NLRI of a family not negotiated")),
                    }
                }
                attr::MP_UNREACH => {
                    let (head, nlri) = value
                        .split_first_chunk::<3>()
                        .ok_or(Malformed("MP_UNREACH_NLRI"))?;
                    match head {
                        [0, 2, 1] => update.withdrawn.v6 = nlri,
                        [0, 1, 1] => update.withdrawn.v4 = nlri,
                        _ => return Err(Malformed("MP_UNREACH_NLRI of a family not negotiated")),
                    }
                }
                _ => {}
            }
        }
        Ok(update)
    }
}

impl<'a> Routes<'a> {
    /// How many prefixes there are; walks lengths only.
    pub(crate) fn count(self) -> Result<usize, Malformed> {
        Ok(count(self.v4)? + count(self.v6)?)
    }

    /// Every prefix, IPv4 first.
    pub(crate) fn prefixes(self) -> impl Iterator<Item = Result<Prefix, Malformed>> + 'a {
        Nlri {
            family: Family::Ipv4,
            rest: self.v4,
        }
        .chain(Nlri {
            family: Family::Ipv6,
            rest: self.v6,
        })
    }
}

/// An attribute as it lies in the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: &'a [u8],
}

/// Walks a path attribute block.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Raw<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parsed = (|| {
            let (&[flags, code], rest) = self.0.split_first_chunk::<2>()?;
            let (value, rest) = if flags & attr::EXTENDED_LENGTH != 0 {
                counted(rest)?
            } else {
                let (&len, rest) = rest.split_first()?;
                rest.split_at_checked(usize::from(len))?
            };
            self.0 = rest;
            Some(Raw { flags, code, value })
        })();
        if parsed.is_none() {
            self.0 = &[];
        }
        Some(parsed.ok_or(Malformed("a path attribute runs past its block")))
    }
}

struct Nlri<'a> {
    family: Family,
    rest: &'a [u8],
}

impl Iterator for Nlri<'_> {
    type Item = Result<Prefix, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&len, rest) = self.rest.split_first()?;
        let bytes = usize::from(len.div_ceil(8));
        let valid = len <= self.family.max_len();
        let Some((address, rest)) = rest.split_at_checked(bytes).filter(|_| valid) else {
            self.rest = &[];
            return Some(Err(Malformed(
                "a prefix is longer than its family or its field",
            )));
        };
        self.rest = rest;
        let mut bits = [0; 16];
        bits[..bytes].copy_from_slice(address);
        Some(Ok(Prefix::new(self.family, u128::from_be_bytes(bits), len)))
    }
}

fn count(mut nlri: &[u8]) -> Result<usize, Malformed> {
    let mut prefixes = 0;
    while let Some(&len) = nlri.first() {
        nlri = nlri
            .get(1 + usize::from(len.div_ceil(8))..)
            .ok_or(Malformed("a prefix runs past its field"))?;
        prefixes += 1;
    }
    Ok(prefixes)
}

/// A field that a two-byte length precedes, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;
    use crate::encode::{self, Attribute, kind};

    #[test]
    fn what_the_encoder_writes_reads_back() {
        let prefixes: Vec<_> = (0..2000u128)
            .map(|n| Prefix::new(Family::Ipv6, (0x2001_u128 << 112) | (n << 80), 48))
            .collect();
        let attributes = [Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![0])];
        let mut stream = Vec::new();
        encode::announce(
            &attributes,
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            &prefixes,
            &mut stream,
        )
        .expect("fits");
        let (mut at, mut read) = (0, Vec::new());
        while let Some(message) = message_at(&stream, at).expect("well formed") {
            assert_eq!(message.kind, kind::UPDATE);
            let update = Update::parse(message.body).expect("well formed");
            assert_eq!(update.next_hop_v6, Some(&Ipv6Addr::LOCALHOST.octets()[..]));
            let before = read.len();
            read.extend(update.announced.prefixes().map(|p| p.expect("well formed")));
            assert_eq!(update.announced.count(), Ok(read.len() - before));
            at = message.end;
        }
        assert_eq!(at, stream.len());
        assert_eq!(read, prefixes);
    }

    #[test]
    fn a_truncated_message_is_awaited_and_a_wrong_one_refused() {
        let keepalive = encode::keepalive();
        assert!(
            message_at(&keepalive[..18], 0)
                .expect("no error yet")
                .is_none()
        );
        assert!(message_at(&[0; 19], 0).is_err());
        let mut short = keepalive;
        short[17] = 18;
        assert!(message_at(&short, 0).is_err());
    }

    #[test]
    fn lengths_that_point_outside_are_errors() {
        for body in [
            &[0, 1][..],
            &[0, 0, 0, 9],
            &[0, 0, 0, 3, 0x40, 1, 7],
            &[0, 0, 0, 4, 0x90, 14, 0, 9],
            &[0, 0, 0, 4, 0x80, 14, 1, 0],
        ] {
            assert!(Update::parse(body).is_err(), "{body:?}");
        }
        let update = Update::parse(&[0, 0, 0, 0, 33, 1, 2, 3, 4, 5]).expect("fields are sound");
        assert!(update.announced.prefixes().any(|p| p.is_err()));
        let update = Update::parse(&[0, 0, 0, 0, 24, 1]).expect("fields are sound");
        assert!(update.announced.count().is_err());
    }
}
