//! The zone this fabric answers for.

use std::{fmt, net::IpAddr};

use super::Soa;
use crate::codec::address_label;

/// In which order instances of one standing are answered.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// At random, so that callers spread.
    #[default]
    Shuffled,
    /// The nearest first, at random among the equally near.
    Nearest,
}

/// A network whose addresses have names here.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// A network by an address in it and the length of its prefix. None when the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then_some(Self { address, length })
    }

    /// The length of its prefix.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.length);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits())
                    .checked_shr(32 - length)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits())
                    .checked_shr(128 - length)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The zone and how it is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub(super) origin: String,
    /// For how many seconds an answer may be kept: 0 to 5 where a dead backend must go quickly.
    pub ttl: u32,
    /// For how many seconds it may be kept that there is nothing.
    pub negative_ttl: u32,
    /// The most records of a service in one answer. Of more instances each answer holds another sample.
    pub answer_limit: usize,
    /// In which order instances are answered.
    pub order: Order,
    /// The addresses of the server itself, for `ns.ZONE`.
    pub servers: Vec<IpAddr>,
    /// The networks whose addresses have names.
    pub networks: Vec<Network>,
}

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` cannot be the zone: write labels of letters, digits and hyphens with dots between them, at most 96 \
     characters, as in wayleave.internal", .0.escape_debug()
)]
pub struct ZoneError(String);

impl Zone {
    /// The origin when none is configured. `internal` is reserved for private use by ICANN.
    pub const DEFAULT_ORIGIN: &'static str = "wayleave.internal";

    /// The zone of this origin: TTL 1 s, 5 s for negative answers, at most 64 shuffled records.
    pub fn new(origin: &str) -> Result<Self, ZoneError> {
        let wrong = || ZoneError(origin.chars().take(160).collect());
        let name = origin
            .strip_suffix('.')
            .unwrap_or(origin)
            .to_ascii_lowercase();
        let is_label = |label: &str| crate::names::HostName::new(label).is_ok();
        // The rest of the 253 octets is for what stands before it: a service, a namespace, a port.
        if name.len() > 96 || !name.split('.').all(is_label) {
            return Err(wrong());
        }
        Ok(Self {
            origin: name,
            ttl: 1,
            negative_ttl: 5,
            answer_limit: 64,
            order: Order::Shuffled,
            servers: Vec::new(),
            networks: Vec::new(),
        })
    }

    /// The origin in lower case, without a final dot.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn soa(&self, owner: &str, index: u64) -> Soa {
        Soa {
            owner: owner.to_owned(),
            primary: self.server_name(),
            mailbox: format!("hostmaster.{}", self.origin),
            serial: u32::try_from(index & u64::from(u32::MAX)).unwrap_or_default(),
            minimum: self.negative_ttl,
        }
    }

    pub(super) fn server_name(&self) -> String {
        format!("ns.{}", self.origin)
    }

    pub(super) fn address_name(&self, address: IpAddr) -> String {
        format!("{}.addr.{}", address_label(address), self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_shares_their_prefix() {
        let network = |text: &str, length| {
            Network::new(text.parse().expect(text), length).expect("a network")
        };
        for (network, address, inside) in [
            (network("10.1.0.0", 16), "10.1.255.255", true),
            (network("10.1.0.0", 16), "10.2.0.0", false),
            (network("0.0.0.0", 0), "255.255.255.255", true),
            (network("10.1.7.2", 32), "10.1.7.2", true),
            (network("10.1.7.2", 32), "10.1.7.3", false),
            (network("::", 0), "fd00::1", true),
            (network("::", 0), "10.1.7.2", false),
            (network("fd00::", 8), "fdff::1", true),
        ] {
            assert_eq!(
                network.contains(address.parse().expect(address)),
                inside,
                "{network:?} {address}"
            );
        }
        assert_eq!(
            Network::new("10.0.0.0".parse().expect("an address"), 33),
            None
        );
    }

    #[test]
    fn an_origin_is_a_domain_name() {
        assert_eq!(
            Zone::new("Fabric.Example.").map(|zone| zone.origin),
            Ok("fabric.example".into())
        );
        for wrong in ["", ".", "a..b", "_x.y", &"a.".repeat(80), "a b"] {
            assert!(Zone::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
