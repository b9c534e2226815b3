//! Plane P: what routers and people match.

use std::collections::BTreeSet;

use super::{NodeKey, State, whole};
use crate::community::{DiscoveryNumber, LargeCommunity};

/// The second field of plane P: which statement the third field is the value of.
pub mod statement {
    /// This is an endpoint or a carrier: version and flags.
    pub const MARK: u32 = 1;
    /// The number of a namespace, one for each.
    pub const NAMESPACE: u32 = 2;
    /// The number of a service, one for each.
    pub const SERVICE: u32 = 3;
    /// A class the operator chose; any number of them.
    pub const CLASS: u32 = 4;
    /// Region and zone.
    pub const ZONE: u32 = 5;
    /// The worst state of the services.
    pub const STATE: u32 = 6;
    /// How far the route may travel.
    pub const SCOPE: u32 = 7;
    /// The cluster's id.
    pub const CLUSTER: u32 = 8;
    /// On a carrier: how many records the node announces.
    pub const MANIFEST_COUNT: u32 = 9;
    /// On a carrier: the upper half of the digest of all records.
    pub const MANIFEST_HIGH: u32 = 10;
    /// On a carrier: the lower half of the digest of all records.
    pub const MANIFEST_LOW: u32 = 11;
    /// The upper half of the node's key.
    pub const KEY_HIGH: u32 = 12;
    /// The lower half of the node's key.
    pub const KEY_LOW: u32 = 13;
    /// On a carrier: the node's nonce of this boot.
    pub const NONCE: u32 = 14;
    /// On a carrier: the digest of pool 0; pool p is this plus p.
    pub const POOL_DIGEST: u32 = 64;
    /// One past the digest of the last pool.
    pub const POOL_DIGEST_END: u32 = 80;
}

/// The major version this agent writes and reads; a higher one is not understood at all.
pub(super) const MAJOR: u8 = 1;

/// The flags of the mark.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The address is shared: an anycast VIP.
    pub anycast: bool,
    /// A record stands in plane R.
    pub record: bool,
    /// This is the carrier of a node.
    pub manifest: bool,
    /// The next hop equals that of the block: a router may leave the route out of its FIB.
    pub no_fib: bool,
}

impl Flags {
    fn number(self) -> u32 {
        u32::from(self.anycast)
            | u32::from(self.record) << 1
            | u32::from(self.manifest) << 2
            | u32::from(self.no_fib) << 3
    }

    fn from_number(number: u32) -> Self {
        Self {
            anycast: number & 1 != 0,
            record: number & 2 != 0,
            manifest: number & 4 != 0,
            no_fib: number & 8 != 0,
        }
    }
}

/// Where something is: a region and a zone in it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    /// The region.
    pub region: u16,
    /// The zone within the region.
    pub zone: u16,
}

/// How far an endpoint's route may travel.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Nowhere.
    Node,
    /// Within the zone.
    Zone,
    /// Within the cluster.
    Cluster,
    /// Everywhere.
    All,
}

impl Scope {
    const fn number(self) -> u32 {
        match self {
            Self::Node => 0,
            Self::Zone => 1,
            Self::Cluster => 2,
            Self::All => 3,
        }
    }

    /// A number not known means [`Node`](Self::Node): what cannot be judged goes no further.
    const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Zone,
            2 => Self::Cluster,
            3 => Self::All,
            _ => Self::Node,
        }
    }
}

/// What was found under statement 1.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    Missing,
    Conflicting,
    Version {
        major: u8,
        minor: u8,
    },
}

/// Plane P of a route.
///
/// A statement that may stand once and stands twice with different values is void, except that the worst state
/// and the narrowest scope win: an operator's router that adds one must be able to lower, never to raise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plane {
    pub(super) mark: Mark,
    /// The flags of the mark.
    pub flags: Flags,
    /// The key of the node that originates the route.
    pub key: Option<NodeKey>,
    /// Numbers of the namespaces.
    pub namespaces: BTreeSet<u32>,
    /// Numbers of the services.
    pub services: BTreeSet<u32>,
    /// The operator's classes.
    pub classes: BTreeSet<u32>,
    /// The zone.
    pub zone: Option<Zone>,
    /// The worst state of the services.
    pub state: Option<State>,
    /// How far the route may travel.
    pub scope: Option<Scope>,
    /// The cluster.
    pub cluster: Option<u32>,
}

impl Plane {
    /// Reads plane P out of the communities of a route.
    pub(super) fn read(number: DiscoveryNumber, communities: &[LargeCommunity]) -> Self {
        let mut plane = Self::default();
        let (mut mark, mut zone, mut cluster) = (Once::Missing, Once::Missing, Once::Missing);
        let (mut high, mut low) = (Once::Missing, Once::Missing);
        for community in communities.iter().filter(|c| c.global == number.number()) {
            let value = community.local2;
            match community.local1 {
                statement::MARK => mark.put(value),
                statement::NAMESPACE => {
                    plane.namespaces.insert(value);
                }
                statement::SERVICE => {
                    plane.services.insert(value);
                }
                statement::CLASS => {
                    plane.classes.insert(value);
                }
                statement::ZONE => zone.put(value),
                statement::STATE => plane.state = plane.state.max(Some(State::from_number(value))),
                statement::SCOPE => {
                    let scope = Scope::from_number(value);
                    plane.scope = Some(plane.scope.map_or(scope, |found| found.min(scope)));
                }
                statement::CLUSTER => cluster.put(value),
                statement::KEY_HIGH => high.put(value),
                statement::KEY_LOW => low.put(value),
                _ => {}
            }
        }
        plane.mark = match mark {
            Once::Missing => Mark::Missing,
            Once::Twice => Mark::Conflicting,
            Once::Value(value) => {
                plane.flags = Flags::from_number(value & 0xffff);
                let [major, minor, ..] = value.to_be_bytes();
                Mark::Version { major, minor }
            }
        };
        plane.zone = zone.value().map(|value| {
            let [r1, r0, z1, z0] = value.to_be_bytes();
            Zone {
                region: u16::from_be_bytes([r1, r0]),
                zone: u16::from_be_bytes([z1, z0]),
            }
        });
        plane.cluster = cluster.value();
        plane.key = high
            .value()
            .zip(low.value())
            .map(|(high, low)| NodeKey(whole(high, low)));
        plane
    }

    /// Writes plane P as version 1.0.
    pub(super) fn write(&self, number: DiscoveryNumber, to: &mut Vec<LargeCommunity>) {
        let mut put = |statement, value| {
            to.push(LargeCommunity::new(number.number(), statement, value));
        };
        put(
            statement::MARK,
            u32::from(MAJOR) << 24 | self.flags.number(),
        );
        for namespace in &self.namespaces {
            put(statement::NAMESPACE, *namespace);
        }
        for service in &self.services {
            put(statement::SERVICE, *service);
        }
        for class in &self.classes {
            put(statement::CLASS, *class);
        }
        if let Some(zone) = self.zone {
            put(
                statement::ZONE,
                u32::from(zone.region) << 16 | u32::from(zone.zone),
            );
        }
        if let Some(state) = self.state {
            put(statement::STATE, u32::from(state.number()));
        }
        if let Some(scope) = self.scope {
            put(statement::SCOPE, scope.number());
        }
        if let Some(cluster) = self.cluster {
            put(statement::CLUSTER, cluster);
        }
        if let Some(key) = self.key {
            to.extend(key.communities(number));
        }
    }
}

/// A statement that may stand once.
#[derive(Copy, Clone)]
pub(super) enum Once {
    Missing,
    Value(u32),
    Twice,
}

impl Once {
    pub(super) fn put(&mut self, value: u32) {
        *self = match *self {
            Self::Missing => Self::Value(value),
            Self::Value(found) if found == value => Self::Value(value),
            Self::Value(_) | Self::Twice => Self::Twice,
        };
    }

    pub(super) fn value(self) -> Option<u32> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Twice => None,
        }
    }
}
