//! The record: type, length and value of what has names.
//!
//! ```text
//!  1 service   name length (8), name, state (4) | priority (4), weight (16),
//!              then per port: protocol (8), number (16), name length (8), name
//!  2 tag       key=value, of the service before it
//!  3 namespace of all services after it; before the first: `default`
//!  4 instance id
//!  5 host name
//!  6 TTL hint  seconds (16)
//!  7 address   4 or 16 octets: where the node itself is reached; on a carrier only
//! ```
//!
//! Unknown types are skipped. A known type that breaks its own rules makes the whole record invalid: a
//! half-understood service would answer wrongly.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{EncodeError, Port, Protocol, Service, State};
use crate::names::{HostName, InstanceId, NameError, Namespace, PortName, ServiceName, Tag};

mod tlv {
    pub(super) const SERVICE: u8 = 1;
    pub(super) const TAG: u8 = 2;
    pub(super) const NAMESPACE: u8 = 3;
    pub(super) const INSTANCE: u8 = 4;
    pub(super) const HOST: u8 = 5;
    pub(super) const TTL: u8 = 6;
    pub(super) const ADDRESS: u8 = 7;
}

/// What plane R says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The services at the address. Decoded ones stand in canonical order: by namespace (`default` first), name,
    /// ports; equal ones stand once.
    pub services: Vec<Service>,
    /// The registration's id; left out by default, so that replicas share one attribute set.
    pub instance: Option<InstanceId>,
    /// The name of the host or container.
    pub host: Option<HostName>,
    /// For how many seconds an answer may be kept.
    pub ttl: Option<u16>,
    /// On a carrier: the addresses at which the node itself is reached.
    pub addresses: BTreeSet<IpAddr>,
}

/// Why a record is ignored. Plane P of the same route still counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A member of the set was lost on the way.
    #[error("slot {index} of the record is missing: a router on the way drops large communities")]
    MissingSlot {
        /// Which slot, from 0.
        index: u8,
    },
    /// Two records in one set.
    #[error(
        "slot {index} of the record has two values: a router on the way merges communities of two routes"
    )]
    TwoValues {
        /// Which slot, from 0.
        index: u8,
    },
    /// A slot past the end.
    #[error("slot {index} of the record lies past its length")]
    SurplusSlot {
        /// Which slot, from 0.
        index: u8,
    },
    /// No or too many octets.
    #[error("the record says it is {length} octets long; 1 to 1530 are possible")]
    Length {
        /// The length it says.
        length: usize,
    },
    /// The rest of the last slot is not zero.
    #[error("the padding of the record's last slot is not zero")]
    Padding,
    /// Damaged.
    #[error("the record's checksum is {expected:08x}, computed {computed:08x}")]
    Checksum {
        /// The checksum it says.
        expected: u32,
        /// The checksum of its octets.
        computed: u32,
    },
    /// Written by a later version only.
    #[error("the record has format {format}, this agent reads 1; upgrade this agent")]
    UnknownFormat {
        /// The format found.
        format: u8,
    },
    /// A value that goes past its end, or a record past its own.
    #[error("the record ends within an entry of type {kind}")]
    Truncated {
        /// The type of the entry.
        kind: u8,
    },
    /// A value that its type does not allow.
    #[error("an entry of type {kind} is invalid: {reason}")]
    Invalid {
        /// The type of the entry.
        kind: u8,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name that is none.
    #[error("the record holds a wrong name: {0}")]
    Name(#[from] NameError),
}

impl Record {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.instance.is_none()
            && self.host.is_none()
            && self.ttl.is_none()
            && self.addresses.is_empty()
    }

    /// The same record in canonical order.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.services.sort_by(Service::record_order);
        self.services.dedup();
        self
    }

    /// The octets of the record: the same for equal records, whatever the order of their services.
    pub(super) fn to_octets(&self) -> Result<Vec<u8>, EncodeError> {
        let mut services: Vec<&Service> = self.services.iter().collect();
        services.sort_by(|a, b| Service::record_order(a, b));
        services.dedup();
        let mut octets = Vec::with_capacity(256);
        let default = Namespace::default();
        let mut namespace = &default;
        for service in services {
            if service.namespace != *namespace {
                namespace = &service.namespace;
                // Names are at most 63 octets, so that these entries always fit.
                put(&mut octets, tlv::NAMESPACE, namespace.as_str().as_bytes());
            }
            let value = service_value(service)?;
            if !put(&mut octets, tlv::SERVICE, &value) {
                return Err(EncodeError::ServiceTooLarge {
                    service: service.id(),
                    len: value.len(),
                });
            }
            for tag in &service.tags {
                put(&mut octets, tlv::TAG, tag.as_str().as_bytes());
            }
        }
        if let Some(instance) = &self.instance {
            put(&mut octets, tlv::INSTANCE, instance.as_str().as_bytes());
        }
        if let Some(host) = &self.host {
            put(&mut octets, tlv::HOST, host.as_str().as_bytes());
        }
        if let Some(ttl) = self.ttl {
            put(&mut octets, tlv::TTL, &ttl.to_be_bytes());
        }
        for address in &self.addresses {
            match address {
                IpAddr::V4(v4) => put(&mut octets, tlv::ADDRESS, &v4.octets()),
                IpAddr::V6(v6) => put(&mut octets, tlv::ADDRESS, &v6.octets()),
            };
        }
        Ok(octets)
    }

    /// Reads a record whose checksum was right.
    pub(super) fn parse(octets: &[u8]) -> Result<Self, RecordError> {
        let mut record = Self::default();
        let mut namespace = Namespace::default();
        let mut rest = octets;
        while let Some((&kind, after)) = rest.split_first() {
            let truncated = RecordError::Truncated { kind };
            let Some((&length, after)) = after.split_first() else {
                return Err(truncated);
            };
            let Some((value, after)) = after.split_at_checked(usize::from(length)) else {
                return Err(truncated);
            };
            rest = after;
            match kind {
                tlv::SERVICE => record.services.push(parse_service(&namespace, value)?),
                tlv::TAG => {
                    let tag = Tag::new(text(kind, value)?)?;
                    let Some(service) = record.services.last_mut() else {
                        return Err(RecordError::Invalid {
                            kind,
                            reason: "no service before it",
                        });
                    };
                    service.tags.insert(tag);
                }
                tlv::NAMESPACE => namespace = Namespace::new(text(kind, value)?)?,
                tlv::INSTANCE => record.instance = Some(InstanceId::new(text(kind, value)?)?),
                tlv::HOST => record.host = Some(HostName::new(text(kind, value)?)?),
                tlv::TTL => {
                    let Ok(seconds) = <[u8; 2]>::try_from(value) else {
                        return Err(RecordError::Invalid {
                            kind,
                            reason: "not two octets",
                        });
                    };
                    record.ttl = Some(u16::from_be_bytes(seconds));
                }
                tlv::ADDRESS => {
                    record.addresses.insert(parse_address(kind, value)?);
                }
                _ => {}
            }
        }
        Ok(record.canonical())
    }
}

fn service_value(service: &Service) -> Result<Vec<u8>, EncodeError> {
    let mut value = Vec::with_capacity(32);
    put_name(&mut value, service.name.as_str());
    // A priority over 15 is the worst that can be said, never a better one.
    let priority = service.priority.min(Service::MAX_PRIORITY);
    value.push(service.state.number() << 4 | priority);
    value.extend(service.weight.to_be_bytes());
    for port in &service.ports {
        if port.number == 0 {
            return Err(EncodeError::PortZero(service.id()));
        }
        value.push(port.protocol.0);
        value.extend(port.number.to_be_bytes());
        put_name(&mut value, port.name.as_ref().map_or("", PortName::as_str));
    }
    Ok(value)
}

fn parse_service(namespace: &Namespace, value: &[u8]) -> Result<Service, RecordError> {
    let kind = tlv::SERVICE;
    let truncated = || RecordError::Truncated { kind };
    let mut rest = value;
    let name = ServiceName::new(take_name(kind, &mut rest)?)?;
    let (&[state_priority, weight1, weight0], mut rest) =
        rest.split_first_chunk().ok_or_else(truncated)?;
    let mut ports = BTreeSet::new();
    while !rest.is_empty() {
        let (&[protocol, number1, number0], after) =
            rest.split_first_chunk().ok_or_else(truncated)?;
        rest = after;
        let name = match take_name(kind, &mut rest)? {
            "" => None,
            name => Some(PortName::new(name)?),
        };
        let number = u16::from_be_bytes([number1, number0]);
        if number == 0 {
            return Err(RecordError::Invalid {
                kind,
                reason: "port 0",
            });
        }
        ports.insert(Port {
            name,
            protocol: Protocol(protocol),
            number,
        });
    }
    Ok(Service {
        namespace: namespace.clone(),
        name,
        ports,
        state: State::from_number(u32::from(state_priority >> 4)),
        priority: state_priority & 0x0f,
        weight: u16::from_be_bytes([weight1, weight0]),
        tags: BTreeSet::new(),
    })
}

fn parse_address(kind: u8, value: &[u8]) -> Result<IpAddr, RecordError> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Ok(Ipv4Addr::from(octets).into());
    }
    match <[u8; 16]>::try_from(value) {
        Ok(octets) => Ok(Ipv6Addr::from(octets).into()),
        Err(_) => Err(RecordError::Invalid {
            kind,
            reason: "neither 4 nor 16 octets",
        }),
    }
}

/// Appends one entry; false, and nothing appended, when the value is over 255 octets.
fn put(octets: &mut Vec<u8>, kind: u8, value: &[u8]) -> bool {
    let Ok(length) = u8::try_from(value.len()) else {
        return false;
    };
    octets.extend([kind, length]);
    octets.extend(value);
    true
}

fn put_name(value: &mut Vec<u8>, name: &str) {
    let length = u8::try_from(name.len()).expect("invariant: names have at most 63 octets");
    value.push(length);
    value.extend(name.as_bytes());
}

fn take_name<'a>(kind: u8, rest: &mut &'a [u8]) -> Result<&'a str, RecordError> {
    let truncated = RecordError::Truncated { kind };
    let Some((&length, after)) = rest.split_first() else {
        return Err(truncated);
    };
    let Some((name, after)) = after.split_at_checked(usize::from(length)) else {
        return Err(truncated);
    };
    *rest = after;
    text(kind, name)
}

fn text(kind: u8, value: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(value).map_err(|_| RecordError::Invalid {
        kind,
        reason: "not UTF-8",
    })
}
