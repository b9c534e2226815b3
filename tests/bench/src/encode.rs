//! BGP messages written out by hand (RFC 4271 section 4, RFC 4760, RFC 6793).
//!
//! This shares no line with the speaker under test: a mistake made there cannot hide here.

use std::net::{IpAddr, Ipv4Addr};

use crate::prefix::{Family, Prefix};

/// Fixed header: 16-byte marker, length, type (RFC 4271 section 4.1).
pub(crate) const HEADER: usize = 19;
/// Largest message without the extended message capability.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// Message types (RFC 4271 section 4.1).
pub(crate) mod kind {
    pub(crate) const OPEN: u8 = 1;
    pub(crate) const UPDATE: u8 = 2;
    pub(crate) const NOTIFICATION: u8 = 3;
    pub(crate) const KEEPALIVE: u8 = 4;
}

/// Path attribute type codes and the flags they travel with.
pub(crate) mod attr {
    pub(crate) const ORIGIN: u8 = 1;
    pub(crate) const AS_PATH: u8 = 2;
    pub(crate) const NEXT_HOP: u8 = 3;
    pub(crate) const MED: u8 = 4;
    pub(crate) const LOCAL_PREF: u8 = 5;
    pub(crate) const ATOMIC_AGGREGATE: u8 = 6;
    pub(crate) const AGGREGATOR: u8 = 7;
    pub(crate) const COMMUNITIES: u8 = 8;
    pub(crate) const ORIGINATOR_ID: u8 = 9;
    pub(crate) const CLUSTER_LIST: u8 = 10;
    pub(crate) const MP_REACH: u8 = 14;
    pub(crate) const MP_UNREACH: u8 = 15;
    pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(crate) const LARGE_COMMUNITIES: u8 = 32;

    pub(crate) const WELL_KNOWN: u8 = 0x40;
    pub(crate) const OPTIONAL: u8 = 0x80;
    pub(crate) const OPTIONAL_TRANSITIVE: u8 = 0xc0;
    pub(crate) const EXTENDED_LENGTH: u8 = 0x10;

    /// AS_PATH segment types.
    pub(crate) const AS_SET: u8 = 1;
    pub(crate) const AS_SEQUENCE: u8 = 2;
}

/// One path attribute: flags without the extended length bit, type, value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: Vec<u8>,
}

impl Attribute {
    pub(crate) fn new(flags: u8, code: u8, value: Vec<u8>) -> Self {
        Self { flags, code, value }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match u8::try_from(self.value.len()) {
            Ok(len) => out.extend_from_slice(&[self.flags, self.code, len]),
            Err(_) => {
                out.extend_from_slice(&[self.flags | attr::EXTENDED_LENGTH, self.code]);
                out.extend_from_slice(&u16_of(self.value.len()).to_be_bytes());
            }
        }
        out.extend_from_slice(&self.value);
    }
}

/// The value of an AS_PATH of one AS_SEQUENCE, four octets per AS (RFC 6793).
pub(crate) fn as_sequence(hops: &[u32]) -> Vec<u8> {
    if hops.is_empty() {
        return Vec::new();
    }
    let mut value = vec![attr::AS_SEQUENCE, hops.len().min(255) as u8];
    for hop in hops.iter().take(255) {
        value.extend_from_slice(&hop.to_be_bytes());
    }
    value
}

/// An OPEN with four-octet AS numbers and one address family.
///
/// ```text
/// | version 4 | my AS (23456 when it does not fit) | hold time | identifier | parameters |
/// ```
pub(crate) fn open(asn: u32, hold_time: u16, id: Ipv4Addr, family: Family) -> Vec<u8> {
    let mut capabilities = vec![1, 4];
    capabilities.extend_from_slice(&family.afi().to_be_bytes());
    capabilities.extend_from_slice(&[0, 1, 65, 4]);
    capabilities.extend_from_slice(&asn.to_be_bytes());

    let mut body = vec![4];
    body.extend_from_slice(&u16::try_from(asn).unwrap_or(23456).to_be_bytes());
    body.extend_from_slice(&hold_time.to_be_bytes());
    body.extend_from_slice(&id.octets());
    body.extend_from_slice(&[capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
    body.extend_from_slice(&capabilities);
    message(kind::OPEN, &body)
}

/// A KEEPALIVE: nothing but the header.
pub(crate) fn keepalive() -> Vec<u8> {
    message(kind::KEEPALIVE, &[])
}

/// The End-of-RIB marker of a family (RFC 4724 section 2).
pub(crate) fn end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4 => message(kind::UPDATE, &[0, 0, 0, 0]),
        Family::Ipv6 => message(
            kind::UPDATE,
            &[0, 0, 0, 6, attr::OPTIONAL, attr::MP_UNREACH, 3, 0, 2, 1],
        ),
    }
}

/// Appends UPDATEs that announce `prefixes` with `attributes`: as many prefixes to a message as
/// fit. `attributes` holds no next hop and is sorted by type code; `next_hop` decides where the
/// prefixes go.
///
/// # Errors
/// When the attributes leave no room for a single prefix in a message.
pub(crate) fn announce(
    attributes: &[Attribute],
    next_hop: IpAddr,
    prefixes: &[Prefix],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut block = Vec::with_capacity(256);
    match next_hop {
        IpAddr::V4(hop) => {
            let hop = Attribute::new(attr::WELL_KNOWN, attr::NEXT_HOP, hop.octets().to_vec());
            let split = attributes.partition_point(|a| a.code < attr::NEXT_HOP);
            attributes[..split]
                .iter()
                .for_each(|a| a.encode(&mut block));
            hop.encode(&mut block);
            attributes[split..]
                .iter()
                .for_each(|a| a.encode(&mut block));
            let room = (MAX_MESSAGE - HEADER - 4).saturating_sub(block.len());
            for batch in batches(prefixes, room)? {
                let mut body = vec![0, 0];
                body.extend_from_slice(&u16_of(block.len()).to_be_bytes());
                body.extend_from_slice(&block);
                batch.iter().for_each(|p| p.encode(&mut body));
                put_message(kind::UPDATE, &body, out);
            }
        }
        IpAddr::V6(hop) => {
            attributes.iter().for_each(|a| a.encode(&mut block));
            // flags, code, two bytes of length, AFI, SAFI, hop length, hop, reserved.
            let fixed = 4 + 2 + 1 + 1 + 16 + 1;
            let room = (MAX_MESSAGE - HEADER - 4).saturating_sub(block.len() + fixed);
            for batch in batches(prefixes, room)? {
                let mut value = vec![0, 2, 1, 16];
                value.extend_from_slice(&hop.octets());
                value.push(0);
                batch.iter().for_each(|p| p.encode(&mut value));
                let mut reach = Vec::with_capacity(value.len() + 4);
                // RFC 7606 section 5.1 wants MP_REACH_NLRI first.
                Attribute::new(attr::OPTIONAL, attr::MP_REACH, value).encode(&mut reach);
                let mut body = vec![0, 0];
                body.extend_from_slice(&u16_of(reach.len() + block.len()).to_be_bytes());
                body.extend_from_slice(&reach);
                body.extend_from_slice(&block);
                put_message(kind::UPDATE, &body, out);
            }
        }
    }
    Ok(())
}

/// Appends UPDATEs that withdraw `prefixes`, packed as full as messages get.
pub(crate) fn withdraw(family: Family, prefixes: &[Prefix], out: &mut Vec<u8>) {
    let room = MAX_MESSAGE - HEADER - 4 - 4 - 3;
    for batch in batches(prefixes, room).unwrap_or_default() {
        let mut routes = Vec::with_capacity(room);
        batch.iter().for_each(|p| p.encode(&mut routes));
        let mut body = Vec::with_capacity(MAX_MESSAGE);
        match family {
            Family::Ipv4 => {
                body.extend_from_slice(&u16_of(routes.len()).to_be_bytes());
                body.extend_from_slice(&routes);
                body.extend_from_slice(&[0, 0]);
            }
            Family::Ipv6 => {
                let mut value = vec![0, 2, 1];
                value.extend_from_slice(&routes);
                let mut unreach = Vec::with_capacity(value.len() + 4);
                Attribute::new(attr::OPTIONAL, attr::MP_UNREACH, value).encode(&mut unreach);
                body.extend_from_slice(&[0, 0]);
                body.extend_from_slice(&u16_of(unreach.len()).to_be_bytes());
                body.extend_from_slice(&unreach);
            }
        }
        put_message(kind::UPDATE, &body, out);
    }
}

/// The attributes of a route leave no room for a prefix in a 4096-byte message.
#[derive(Debug)]
pub(crate) struct TooLong;

fn batches(prefixes: &[Prefix], room: usize) -> Result<Vec<&[Prefix]>, TooLong> {
    let mut batches = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, prefix) in prefixes.iter().enumerate() {
        let len = prefix.wire_len();
        if len > room {
            return Err(TooLong);
        }
        if used + len > room {
            batches.push(&prefixes[start..at]);
            (start, used) = (at, 0);
        }
        used += len;
    }
    if start < prefixes.len() {
        batches.push(&prefixes[start..]);
    }
    Ok(batches)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + body.len());
    put_message(kind, body, &mut out);
    out
}

fn put_message(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&u16_of(HEADER + body.len()).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
}

/// Lengths inside a message: bounded by MAX_MESSAGE because `batches` splits before that.
fn u16_of(len: usize) -> u16 {
    debug_assert!(len <= MAX_MESSAGE);
    len as u16
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const MARKER: [u8; 16] = [0xff; 16];

    fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
        let total = (19 + body.len()) as u16;
        [&MARKER[..], &total.to_be_bytes(), &[kind], body].concat()
    }

    #[test]
    fn a_keepalive_is_nineteen_bytes_of_header() {
        let mut expected = vec![0xff; 16];
        expected.extend_from_slice(&[0x00, 0x13, 0x04]);
        assert_eq!(keepalive(), expected);
    }

    #[test]
    fn an_open_says_as_trans_and_carries_the_real_as_in_its_capability() {
        let body = [
            4, // version
            0x5b, 0xa0, // AS_TRANS: 4200000001 does not fit
            0, 180, // hold time
            192, 0, 2, 7,  // identifier
            14, // optional parameters length
            2, 12, // parameter: capabilities
            1, 4, 0, 2, 0, 1, // multiprotocol, AFI 2, SAFI 1
            65, 4, 0xfa, 0x56, 0xea, 0x01, // four-octet AS 4200000001
        ];
        let id = Ipv4Addr::new(192, 0, 2, 7);
        assert_eq!(open(4_200_000_001, 180, id, Family::Ipv6), framed(1, &body));
        assert_eq!(open(65001, 0, id, Family::Ipv4)[20..22], [0xfd, 0xe9]);
    }

    #[test]
    fn an_ipv4_announcement_matches_the_layout_of_rfc_4271_section_4_3() {
        let attributes = [
            Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![0]),
            Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, as_sequence(&[65001, 3356])),
            Attribute::new(
                attr::OPTIONAL_TRANSITIVE,
                attr::COMMUNITIES,
                vec![0, 1, 0, 2],
            ),
        ];
        let prefixes = [
            Prefix::v4(Ipv4Addr::new(198, 51, 100, 0), 24),
            Prefix::v4(Ipv4Addr::new(203, 0, 112, 0), 20),
        ];
        let mut out = Vec::new();
        announce(
            &attributes,
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            &prefixes,
            &mut out,
        )
        .expect("fits");
        let body = [
            0, 0, // withdrawn routes length
            0, 31, // total path attribute length
            0x40, 1, 1, 0, // ORIGIN IGP
            0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe9, 0, 0, 0x0d, 0x1c, // AS_PATH
            0x40, 3, 4, 192, 0, 2, 1, // NEXT_HOP
            0xc0, 8, 4, 0, 1, 0, 2, // COMMUNITIES
            24, 198, 51, 100, // 198.51.100.0/24
            20, 203, 0, 112, // 203.0.112.0/20
        ];
        assert_eq!(out, framed(2, &body));
    }

    #[test]
    fn an_ipv6_announcement_carries_next_hop_and_prefixes_in_mp_reach() {
        let attributes = [
            Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![2]),
            Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, as_sequence(&[])),
        ];
        let hop: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let prefix = Prefix::v6("2001:db8:ff::".parse().expect("an address"), 48);
        let mut out = Vec::new();
        announce(&attributes, IpAddr::V6(hop), &[prefix], &mut out).expect("fits");
        let mut body = vec![0, 0, 0, 38, 0x80, 14, 28, 0, 2, 1, 16];
        body.extend_from_slice(&hop.octets());
        body.extend_from_slice(&[0, 48, 0x20, 0x01, 0x0d, 0xb8, 0, 0xff]);
        body.extend_from_slice(&[0x40, 1, 1, 2, 0x40, 2, 0]);
        assert_eq!(out, framed(2, &body));
    }

    #[test]
    fn withdrawals_and_end_of_rib_match_the_rfc() {
        let mut out = Vec::new();
        withdraw(
            Family::Ipv4,
            &[Prefix::v4(Ipv4Addr::new(10, 0, 0, 0), 8)],
            &mut out,
        );
        assert_eq!(out, framed(2, &[0, 2, 8, 10, 0, 0]));
        out.clear();
        withdraw(
            Family::Ipv6,
            &[Prefix::v6(Ipv6Addr::UNSPECIFIED, 0)],
            &mut out,
        );
        assert_eq!(out, framed(2, &[0, 0, 0, 7, 0x80, 15, 4, 0, 2, 1, 0]));
        assert_eq!(end_of_rib(Family::Ipv4), framed(2, &[0, 0, 0, 0]));
        assert_eq!(
            end_of_rib(Family::Ipv6),
            framed(2, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1])
        );
    }

    #[test]
    fn long_attributes_use_the_extended_length_and_no_message_exceeds_4096_bytes() {
        let attributes = [Attribute::new(
            attr::OPTIONAL_TRANSITIVE,
            attr::COMMUNITIES,
            vec![7; 400],
        )];
        let prefixes: Vec<_> = (0..3000u32)
            .map(|n| Prefix::v4(Ipv4Addr::from_bits(0x0100_0000 + (n << 8)), 24))
            .collect();
        let mut out = Vec::new();
        announce(
            &attributes,
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            &prefixes,
            &mut out,
        )
        .expect("fits");
        assert_eq!(out[19 + 4 + 7..19 + 4 + 11], [0xd0, 8, 1, 144]);
        let (mut at, mut messages) = (0, 0);
        while at < out.len() {
            let len = usize::from(u16::from_be_bytes([out[at + 16], out[at + 17]]));
            assert!(len <= 4096);
            at += len;
            messages += 1;
        }
        assert_eq!((at, messages), (out.len(), 4));
    }

    #[test]
    fn attributes_that_fill_a_message_are_refused() {
        let attributes = [Attribute::new(
            attr::OPTIONAL_TRANSITIVE,
            attr::COMMUNITIES,
            vec![7; 4064],
        )];
        let prefix = Prefix::v4(Ipv4Addr::new(10, 0, 0, 0), 24);
        let hop = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(announce(&attributes, hop, &[prefix], &mut Vec::new()).is_err());
    }
}
