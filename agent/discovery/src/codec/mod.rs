//! Endpoints and carriers as sets of large communities.
//!
//! A route carries a *set*: relays sort large communities and remove duplicates, so nothing here depends on
//! order or repetition. Two planes share the set, told apart by the top bit of the second field:
//!
//! * *Plane P*, for policy and people: exact small numbers in the second field ([`statement`]), so that any router
//!   can match `(GA:n:*)`.
//! * *Plane R*, the record: the full names, in slots of six octets with an index, a length and a CRC ([`record`]).
//!
//! ```text
//!  plane P   GA : statement                          : value (32)
//!  plane R   GA : 1000 vvvv | index (8) | octets 0-1 : octets 2-5
//! ```
//!
//! When a member of plane R is lost the record is ignored and says why; plane P still counts. What is not known
//! is skipped: statements, record types, communities of others.

mod carrier;
mod endpoint;
mod plane;
mod record;
mod service;
pub(crate) mod slots;

use std::{collections::BTreeMap, fmt, net::IpAddr};

pub use carrier::{Carrier, CarrierError, Manifest, carrier_address};
pub use endpoint::{Announcement, Endpoint, RecordStatus};
pub use plane::{Flags, Plane, Scope, Zone, statement};
pub use record::{Record, RecordError};
pub use service::{Port, Protocol, Service, State};

use crate::{
    community::{DiscoveryNumber, LargeCommunity},
    names::{Namespace, ServiceId},
};

/// The most communities of ours one route carries.
///
/// A relay that must split or drop a route leaves stale data behind or crashes; BIRD drops routes above about
/// 252 large communities. 192 of twelve octets leave room for the other attributes within 2,800 octets.
pub const MAX_COMMUNITIES: usize = 192;

/// The key of a node: 64 random bits, durable, bound to the machine.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub u64);

impl NodeKey {
    /// The two communities every route of this node carries, endpoint or not.
    #[must_use]
    pub fn communities(self, number: DiscoveryNumber) -> [LargeCommunity; 2] {
        let (high, low) = halves(self.0);
        let number = number.number();
        [
            LargeCommunity::new(number, statement::KEY_HIGH, high),
            LargeCommunity::new(number, statement::KEY_LOW, low),
        ]
    }

    /// The key among the communities of any route; none when a half is missing or there are two.
    #[must_use]
    pub fn find(number: DiscoveryNumber, communities: &[LargeCommunity]) -> Option<Self> {
        Plane::read(number, communities).key
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a route says about discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The route's prefix is an endpoint's address.
    Endpoint(Announcement),
    /// The route is the carrier of a node.
    Carrier {
        /// What the node says about itself.
        carrier: Carrier,
        /// Why its record, and with it the node's name, is missing. To be counted and logged by the receiver.
        broken: Option<RecordError>,
    },
}

/// Why a route says nothing about discovery.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not one of ours; the usual case.
    #[error("the route has no discovery mark")]
    NoMark,
    /// Two marks that differ: somebody merged or added communities.
    #[error(
        "the route has two different discovery marks; a router on the way adds communities of ours"
    )]
    ConflictingMarks,
    /// Written by a later incompatible version.
    #[error(
        "the route's discovery mark has major version {0}, this agent reads 1; upgrade this agent"
    )]
    UnknownMajor(u8),
    /// A carrier that cannot be used.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
}

/// Why an endpoint cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More than one route may carry.
    #[error(
        "the services of one address need {communities} large communities, {over} more than the {MAX_COMMUNITIES} a \
         route may carry through every router: save about {octets} octets of names and tags, or move services to \
         another address"
    )]
    TooLarge {
        /// Communities needed.
        communities: usize,
        /// How many of them are too many.
        over: usize,
        /// Octets of the record to be saved.
        octets: usize,
    },
    /// One service whose entry does not fit.
    #[error(
        "the entry of service `{service}` needs {len} octets, {} more than the 255 one entry holds: use fewer ports or \
         shorter port names", .len - 255
    )]
    ServiceTooLarge {
        /// The service.
        service: ServiceId,
        /// Octets needed.
        len: usize,
    },
    /// A port that is none.
    #[error("service `{0}` has a port with number 0; ports are 1 to 65535")]
    PortZero(ServiceId),
}

/// Writes and reads the communities of one fabric.
#[derive(Clone, Debug)]
pub struct Codec {
    number: DiscoveryNumber,
    namespace_numbers: BTreeMap<Namespace, u32>,
}

impl Codec {
    /// The codec of the fabric with this discovery number.
    #[must_use]
    pub fn new(number: DiscoveryNumber) -> Self {
        Self {
            number,
            namespace_numbers: BTreeMap::new(),
        }
    }

    /// Gives a namespace a number of its own for plane P, in the place of its hash.
    ///
    /// Two namespaces whose hashes collide would be one in a router's filter; an operator who filters by
    /// namespace gives them numbers. All hosts must agree.
    #[must_use]
    pub fn with_namespace_number(mut self, namespace: Namespace, number: u32) -> Self {
        self.namespace_numbers.insert(namespace, number);
        self
    }

    /// The discovery number of the fabric.
    #[must_use]
    pub fn number(&self) -> DiscoveryNumber {
        self.number
    }

    /// The value of statement 2 for a namespace.
    #[must_use]
    pub fn namespace_number(&self, namespace: &Namespace) -> u32 {
        self.namespace_numbers
            .get(namespace)
            .copied()
            .unwrap_or_else(|| fnv1a32(namespace.as_str().as_bytes()))
    }

    /// The communities of an endpoint's route, sorted and without duplicates.
    pub fn encode(&self, endpoint: &Endpoint) -> Result<Vec<LargeCommunity>, EncodeError> {
        let mut plane = Plane {
            flags: Flags {
                anycast: endpoint.anycast,
                no_fib: endpoint.no_fib,
                ..Flags::default()
            },
            key: Some(endpoint.key),
            classes: endpoint.classes.clone(),
            zone: endpoint.zone,
            state: Some(endpoint.state()),
            scope: endpoint.scope,
            cluster: endpoint.cluster,
            ..Plane::default()
        };
        for service in &endpoint.record.services {
            plane
                .namespaces
                .insert(self.namespace_number(&service.namespace));
            plane.services.insert(service_number(&service.id()));
        }
        self.write(plane, &endpoint.record)
    }

    /// The communities of a node's carrier, sorted and without duplicates; the claims are added by their owner.
    pub fn encode_carrier(&self, carrier: &Carrier) -> Result<Vec<LargeCommunity>, EncodeError> {
        let mut communities = self.write(carrier.plane(), &carrier.node)?;
        communities.extend(carrier.statements(self.number));
        communities.sort_unstable();
        communities.dedup();
        Ok(communities)
    }

    /// What the communities of a route say, in any order, with duplicates and with foreign ones between them.
    pub fn decode(&self, communities: &[LargeCommunity]) -> Result<Decoded, DecodeError> {
        let plane = Plane::read(self.number, communities);
        match plane.mark {
            plane::Mark::Missing => return Err(DecodeError::NoMark),
            plane::Mark::Conflicting => return Err(DecodeError::ConflictingMarks),
            plane::Mark::Version {
                major: plane::MAJOR,
                ..
            } => {}
            plane::Mark::Version { major, .. } => return Err(DecodeError::UnknownMajor(major)),
        }
        let record = if plane.flags.record {
            match slots::collect(self.number, communities).and_then(|octets| Record::parse(&octets))
            {
                Ok(record) => RecordStatus::Present(record),
                Err(error) => RecordStatus::Broken(error),
            }
        } else {
            RecordStatus::Absent
        };
        if plane.flags.manifest {
            let (node, broken) = match record {
                RecordStatus::Present(record) => (record, None),
                RecordStatus::Absent => (Record::default(), None),
                RecordStatus::Broken(error) => (Record::default(), Some(error)),
            };
            let carrier = Carrier::read(self.number, &plane, node, communities)?;
            return Ok(Decoded::Carrier { carrier, broken });
        }
        Ok(Decoded::Endpoint(Announcement { plane, record }))
    }

    fn write(&self, mut plane: Plane, record: &Record) -> Result<Vec<LargeCommunity>, EncodeError> {
        let mut communities = Vec::with_capacity(32);
        if !record.is_empty() {
            plane.flags.record = true;
            let octets = record.to_octets()?;
            communities.extend(slots::split(self.number, &octets));
        }
        plane.write(self.number, &mut communities);
        communities.sort_unstable();
        communities.dedup();
        match communities.len().checked_sub(MAX_COMMUNITIES) {
            None | Some(0) => Ok(communities),
            Some(over) => Err(EncodeError::TooLarge {
                communities: communities.len(),
                over,
                octets: over * slots::SLOT_LEN,
            }),
        }
    }
}

/// The value of statement 3: FNV-1a of `name.namespace`.
///
/// The full name travels in the record, so a collision over-matches a router's filter and never mis-resolves.
#[must_use]
pub fn service_number(service: &ServiceId) -> u32 {
    fnv1a32(service.as_str().as_bytes())
}

/// The name DNS writes for an address where a label must stand for it: `10-1-7-2`, `fd00-0-0-0-0-0-0-1`.
///
/// Groups of IPv6 are written out, because `::1` would begin with a hyphen.
#[must_use]
pub fn address_label(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{a}-{b}-{c}-{d}")
        }
        IpAddr::V6(v6) => v6.segments().map(|group| format!("{group:x}")).join("-"),
    }
}

/// FNV-1a, 32 bits.
fn fnv1a32(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811c_9dc5, |hash, octet| {
        (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193)
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a 64-bit number are its parts"
)]
const fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

const fn whole(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[cfg(test)]
mod tests;
