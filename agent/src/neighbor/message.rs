//! Router solicitations and advertisements (RFC 4861, 4.1 and 4.2) as octets.
//!
//! What a receiver has to look at (6.1.1, 6.1.2) is looked at here, except for the checksum, which the
//! kernel has verified before we see a message and computes for what we send.

use std::net::Ipv6Addr;

/// Numbers of the messages (RFC 4861, 4.1 and 4.2).
pub(super) const SOLICITATION: u8 = 133;
pub(super) const ADVERTISEMENT: u8 = 134;
/// "The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have been forwarded by
/// a router" (6.1.1, 6.1.2).
pub(super) const HOP_LIMIT: u8 = 255;
/// Source Link-Layer Address (4.6.1).
const SOURCE_LINK_ADDRESS: u8 = 1;
/// The length of an option is counted in these (4.6).
const UNIT: usize = 8;
/// Type, code, checksum, and what is reserved.
const SOLICITATION_LENGTH: usize = 8;
/// The same, flags, lifetime and two timers.
const ADVERTISEMENT_LENGTH: usize = 16;

/// What is of use to us in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Who asks for routers.
    Solicitation,
    /// Who is a router.
    Advertisement(Advertisement),
}

/// ```text
/// |     Type      |     Code      |          Checksum             |
/// | Cur Hop Limit |M|O|  Reserved |       Router Lifetime         |
/// |                         Reachable Time                        |
/// |                          Retrans Timer                        |
/// |   Options ...
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advertisement {
    /// For how many seconds the sender is to be a default router; 0: it is none.
    pub(super) lifetime: u16,
}

/// Why a message is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It may have come from somewhere else than this link.
    #[error("the hop limit is {0}, not 255: it may have come from another link")]
    HopLimit(u8),
    /// It is something else.
    #[error("type {0} is neither a router solicitation nor an advertisement")]
    Type(u8),
    /// A code that nobody has given a meaning.
    #[error("code {0}, not 0")]
    Code(u8),
    /// It ends too early.
    #[error("{0} octets are too few")]
    Short(usize),
    /// A router advertises from the address by which it is known on the link.
    #[error("{0} is not a link-local address")]
    Source(Ipv6Addr),
    /// An option of length 0, or one that is cut off.
    #[error("an option that has no length, or is longer than the message")]
    Options,
    /// Who has no address has no link-layer address to be found by either (6.1.1).
    #[error("a link-layer address without an address")]
    SourceOption,
}

impl Message {
    /// Reads a message that came from an address with a hop limit.
    pub(super) fn decode(
        source: Ipv6Addr,
        hop_limit: u8,
        octets: &[u8],
    ) -> Result<Self, Malformed> {
        if hop_limit != HOP_LIMIT {
            return Err(Malformed::HopLimit(hop_limit));
        }
        let short = Malformed::Short(octets.len());
        let [kind, code, ..] = *octets else {
            return Err(short);
        };
        let length = match kind {
            SOLICITATION => SOLICITATION_LENGTH,
            ADVERTISEMENT => ADVERTISEMENT_LENGTH,
            other => return Err(Malformed::Type(other)),
        };
        let (fixed, options) = octets.split_at_checked(length).ok_or(short)?;
        if code != 0 {
            return Err(Malformed::Code(code));
        }
        let has_link_address = has_option(options, SOURCE_LINK_ADDRESS)?;
        if kind == SOLICITATION {
            return if source.is_unspecified() && has_link_address {
                Err(Malformed::SourceOption)
            } else {
                Ok(Self::Solicitation)
            };
        }
        if !source.is_unicast_link_local() {
            return Err(Malformed::Source(source));
        }
        let lifetime = match fixed {
            [_, _, _, _, _, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => return Err(short),
        };
        Ok(Self::Advertisement(Advertisement { lifetime }))
    }

    /// The octets of a message; the kernel fills in the checksum. Hop limit, flags and timers are 0,
    /// which means that we have nothing to say about them, and there are no options: whoever wants to
    /// answer asks for our link-layer address, as for anybody's.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Solicitation => {
                let mut octets = vec![0; SOLICITATION_LENGTH];
                octets[0] = SOLICITATION;
                octets
            }
            Self::Advertisement(Advertisement { lifetime }) => {
                let mut octets = vec![0; ADVERTISEMENT_LENGTH];
                octets[0] = ADVERTISEMENT;
                octets[6..8].copy_from_slice(&lifetime.to_be_bytes());
                octets
            }
        }
    }
}

/// Whether an option is there; all of them must be whole.
fn has_option(mut options: &[u8], wanted: u8) -> Result<bool, Malformed> {
    let mut found = false;
    while let Some(&kind) = options.first() {
        let units = options.get(1).copied().map_or(0, usize::from);
        // "Nodes MUST silently discard an ND packet that contains an option with length zero" (4.6).
        if units == 0 {
            return Err(Malformed::Options);
        }
        let (_, rest) = options
            .split_at_checked(units * UNIT)
            .ok_or(Malformed::Options)?;
        found |= kind == wanted;
        options = rest;
    }
    Ok(found)
}

/// Octets as what came from a link: the first 17 are its source and hop limit.
///
/// # Panics
/// When what was understood is written and understood differently, or a message that cannot be from
/// this link is taken: that is the finding.
pub fn fuzz_one(octets: &[u8]) {
    let Some((head, message)) = octets.split_at_checked(17) else {
        return;
    };
    let source: [u8; 16] = head[..16].try_into().expect("16 octets");
    let (source, hop_limit) = (Ipv6Addr::from(source), head[16]);
    match Message::decode(source, hop_limit, message) {
        Ok(read) => {
            assert_eq!(hop_limit, HOP_LIMIT);
            assert!(source.is_unicast_link_local() || read == Message::Solicitation);
            assert_eq!(Message::decode(source, hop_limit, &read.encode()), Ok(read));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
    /// As FRR 8.4.4 sends it: hop limit 64, a default router for 30 s, its link-layer address.
    const FRRS: [u8; 24] = [
        0x86, 0, 0xb0, 0xc1, 64, 0, 0, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x7e, 0x6b, 0xae, 0xbb,
        0x99, 0x7c,
    ];

    #[test]
    fn what_we_send_is_what_we_read() {
        let ours = Message::Advertisement(Advertisement { lifetime: 0 });
        assert_eq!(
            ours.encode(),
            [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(Message::Solicitation.encode(), [133, 0, 0, 0, 0, 0, 0, 0]);
        for message in [ours, Message::Solicitation] {
            let octets = message.encode();
            assert_eq!(Message::decode(ROUTER, 255, &octets), Ok(message));
        }
    }

    #[test]
    fn an_advertisement_of_frr_is_read() {
        let read = Message::decode(ROUTER, 255, &FRRS);
        let expected = Advertisement { lifetime: 30 };
        assert_eq!(read, Ok(Message::Advertisement(expected)));
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_reason() {
        let change = |at: usize, to: u8| {
            let mut octets = FRRS;
            octets[at] = to;
            octets.to_vec()
        };
        let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let mut asked = Message::Solicitation.encode();
        asked.extend([1, 1, 2, 0, 0, 0, 0, 1]);
        let table = [
            (ROUTER, 254, FRRS.to_vec(), Malformed::HopLimit(254)),
            (ROUTER, 0, FRRS.to_vec(), Malformed::HopLimit(0)),
            (ROUTER, 255, change(0, 135), Malformed::Type(135)),
            (ROUTER, 255, change(1, 1), Malformed::Code(1)),
            (ROUTER, 255, vec![], Malformed::Short(0)),
            (ROUTER, 255, vec![133], Malformed::Short(1)),
            (
                ROUTER,
                255,
                vec![133, 0, 0, 0, 0, 0, 0],
                Malformed::Short(7),
            ),
            (ROUTER, 255, FRRS[..15].to_vec(), Malformed::Short(15)),
            (global, 255, FRRS.to_vec(), Malformed::Source(global)),
            (NOBODY, 255, FRRS.to_vec(), Malformed::Source(NOBODY)),
            (ROUTER, 255, change(17, 0), Malformed::Options),
            (ROUTER, 255, change(17, 2), Malformed::Options),
            (ROUTER, 255, FRRS[..23].to_vec(), Malformed::Options),
            (ROUTER, 255, FRRS[..17].to_vec(), Malformed::Options),
            (NOBODY, 255, asked.clone(), Malformed::SourceOption),
        ];
        for (source, hop_limit, octets, why) in table {
            let read = Message::decode(source, hop_limit, &octets);
            assert_eq!(read, Err(why), "{octets:?}");
        }
        // From an address, or without the option, it is a question like any other.
        for (source, octets) in [(ROUTER, &asked[..]), (NOBODY, &asked[..8])] {
            let read = Message::decode(source, 255, octets);
            assert_eq!(read, Ok(Message::Solicitation));
        }
    }

    proptest! {
        #[test]
        fn the_fuzz_body_stands_any_octets(octets in vec(any::<u8>(), 0..80), kind in 133_u8..136, len in 0_u8..4) {
            fuzz_one(&octets);
            let mut near = ROUTER.octets().to_vec();
            near.extend([255, kind, 0]);
            near.extend([0; 14]);
            near.extend([1, len]);
            near.extend(&octets);
            fuzz_one(&near);
        }
    }
}
