//! The carrier: the one host route per node that only this node can originate.
//!
//! This module reads and writes what discovery needs of it: who the node is, its name and addresses. The claims on
//! blocks ride in the same set, with 2, 4, 5, 6 or 7 as top nibble of the second field, and belong to their
//! own owner; they are passed over here.

use std::{collections::BTreeMap, hash::Hasher, net::Ipv6Addr};

use siphasher::sip::SipHasher24;

use super::{
    Flags, NodeKey, Plane, Record, halves,
    plane::{Once, statement},
    whole,
};
use crate::community::{DiscoveryNumber, LargeCommunity};

/// What all records of a node amount to, so that a receiver finds out when it misses one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// How many endpoints the node announces.
    pub records: u32,
    /// The digest of all of them.
    pub digest: u64,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Who it is, for as long as the machine lives.
    pub key: NodeKey,
    /// 32 random bits of this boot: two machines with one key are told apart by them.
    pub nonce: u32,
    /// The digest of each pool, by the pool's number 0 to 15, as its owner computes it.
    pub pools: BTreeMap<u8, u32>,
    /// What its endpoints amount to.
    pub manifest: Option<Manifest>,
    /// The node's own name (`host`) and `addresses`; empty when it publishes none. A record that was lost on the way
    /// reads as empty: everything else of a carrier must not depend on it.
    pub node: Record,
}

/// Why a carrier cannot be used.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// Nobody's carrier.
    #[error("the carrier has no key, or two: a router on the way drops or adds communities")]
    NoKey,
    /// No boot's carrier.
    #[error("the carrier has no nonce, or two: a router on the way drops or adds communities")]
    NoNonce,
}

impl Carrier {
    pub(super) fn plane(&self) -> Plane {
        Plane {
            flags: Flags {
                manifest: true,
                ..Flags::default()
            },
            key: Some(self.key),
            ..Plane::default()
        }
    }

    pub(super) fn statements(&self, number: DiscoveryNumber) -> Vec<LargeCommunity> {
        let of = |statement, value| LargeCommunity::new(number.number(), statement, value);
        let mut communities = vec![of(statement::NONCE, self.nonce)];
        for (pool, digest) in self.pools.range(..16) {
            communities.push(of(statement::POOL_DIGEST + u32::from(*pool), *digest));
        }
        if let Some(manifest) = self.manifest {
            let (high, low) = halves(manifest.digest);
            communities.push(of(statement::MANIFEST_COUNT, manifest.records));
            communities.push(of(statement::MANIFEST_HIGH, high));
            communities.push(of(statement::MANIFEST_LOW, low));
        }
        communities
    }

    pub(super) fn read(
        number: DiscoveryNumber,
        plane: &Plane,
        node: Record,
        communities: &[LargeCommunity],
    ) -> Result<Self, CarrierError> {
        let (mut nonce, mut records) = (Once::Missing, Once::Missing);
        let (mut high, mut low) = (Once::Missing, Once::Missing);
        let mut pools = [Once::Missing; 16];
        for community in communities.iter().filter(|c| c.global == number.number()) {
            let value = community.local2;
            match community.local1 {
                statement::NONCE => nonce.put(value),
                statement::MANIFEST_COUNT => records.put(value),
                statement::MANIFEST_HIGH => high.put(value),
                statement::MANIFEST_LOW => low.put(value),
                pool @ statement::POOL_DIGEST..statement::POOL_DIGEST_END => {
                    if let Some(found) = pools.get_mut((pool - statement::POOL_DIGEST) as usize) {
                        found.put(value);
                    }
                }
                _ => {}
            }
        }
        let manifest = match (records.value(), high.value(), low.value()) {
            (Some(records), Some(high), Some(low)) => Some(Manifest {
                records,
                digest: whole(high, low),
            }),
            _ => None,
        };
        Ok(Self {
            key: plane.key.ok_or(CarrierError::NoKey)?,
            nonce: nonce.value().ok_or(CarrierError::NoNonce)?,
            pools: (0..)
                .zip(pools)
                .filter_map(|(pool, digest)| Some((pool, digest.value()?)))
                .collect(),
            manifest,
            node,
        })
    }
}

/// The address of a node's carrier in an IPv6 or dual-stack fabric.
///
/// ```text
///  fd | SipHash-2-4 of the fabric's name, upper 40 bits | c1a1 | key (64)
/// ```
///
/// It is on no interface; it only has to be unlike any other route.
#[must_use]
pub fn carrier_address(fabric: &str, key: NodeKey) -> Ipv6Addr {
    let mut hasher = SipHasher24::new();
    hasher.write(fabric.as_bytes());
    let prefix = 0xfd << 56 | (hasher.finish() >> 24) << 16 | 0xc1a1;
    Ipv6Addr::from(u128::from(prefix) << 64 | u128::from(key.0))
}
