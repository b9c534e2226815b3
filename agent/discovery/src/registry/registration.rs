//! What a user writes to register a service, in a file or a request, and its validated form.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Port, Protocol, Service, State},
    health::CheckSpec,
    names::{InstanceId, NameError, Namespace, PortName, ServiceName, Tag},
};

/// A service as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRegistration", into = "RawRegistration")]
pub struct Registration {
    /// What tells this registration from all others on this host.
    pub instance: InstanceId,
    /// Its name.
    pub name: ServiceName,
    /// Its namespace.
    pub namespace: Namespace,
    /// The addresses it is reached at, on this host; at least one. Each has its own health.
    pub addresses: BTreeSet<IpAddr>,
    /// Its ports.
    pub ports: BTreeSet<Port>,
    /// Its tags.
    pub tags: BTreeSet<Tag>,
    /// 0 to 15; a lower one is used first.
    pub priority: u8,
    /// Its share among those of the same priority.
    pub weight: u16,
    /// Its checks; all must pass.
    pub checks: Vec<CheckSpec>,
}

/// Why a registration is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A wrong name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nowhere to reach it.
    #[error("service `{0}` has no address: give `address` or `addresses`")]
    NoAddress(ServiceName),
    /// An address that no other host can reach.
    #[error("{address} cannot be announced: it is {reason}; give an address of the container")]
    Address {
        /// The address.
        address: IpAddr,
        /// What kind of address it is.
        reason: &'static str,
    },
    /// A port that is none.
    #[error("port 0 of service `{0}` is not a port; ports are 1 to 65535")]
    PortZero(ServiceName),
    /// One name for two ports.
    #[error(
        "service `{service}` has two {protocol} ports named `{port}`; a look-up could not tell them apart"
    )]
    PortTwice {
        /// The service.
        service: ServiceName,
        /// The protocol.
        protocol: Protocol,
        /// The name.
        port: PortName,
    },
    /// A priority that does not travel.
    #[error("priority {0} is too high, it must be 0 to 15")]
    Priority(u8),
}

impl Registration {
    /// The service as it stands in a record.
    #[must_use]
    pub fn service(&self, state: State) -> Service {
        Service {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            ports: self.ports.clone(),
            state,
            priority: self.priority,
            weight: self.weight,
            tags: self.tags.clone(),
        }
    }
}

/// A registration as it is written. No `flatten` and no `untagged` in it: they lose line and column.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<InstanceId>,
    name: ServiceName,
    #[serde(default)]
    namespace: Namespace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default)]
    addresses: BTreeSet<IpAddr>,
    #[serde(default)]
    ports: Vec<RawPort>,
    #[serde(default)]
    tags: BTreeSet<Tag>,
    #[serde(default)]
    priority: u8,
    #[serde(default = "default_weight")]
    weight: u16,
    #[serde(default)]
    checks: Vec<CheckSpec>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPort {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<PortName>,
    #[serde(default)]
    protocol: Protocol,
    port: u16,
}

const fn default_weight() -> u16 {
    1
}

impl TryFrom<RawRegistration> for Registration {
    type Error = RegistrationError;

    fn try_from(raw: RawRegistration) -> Result<Self, RegistrationError> {
        let RawRegistration {
            name,
            namespace,
            mut addresses,
            priority,
            ..
        } = raw;
        addresses.extend(raw.address);
        let Some(first) = addresses.first() else {
            return Err(RegistrationError::NoAddress(name));
        };
        for address in &addresses {
            if let Some(reason) = unreachable_kind(*address) {
                return Err(RegistrationError::Address {
                    address: *address,
                    reason,
                });
            }
        }
        if priority > Service::MAX_PRIORITY {
            return Err(RegistrationError::Priority(priority));
        }
        let mut ports = BTreeSet::new();
        for port in raw.ports {
            if port.port == 0 {
                return Err(RegistrationError::PortZero(name));
            }
            let port = Port {
                name: port.name,
                protocol: port.protocol,
                number: port.port,
            };
            if let Some(port_name) = &port.name
                && ports.iter().any(|other: &Port| {
                    other.name == port.name && other.protocol == port.protocol && *other != port
                })
            {
                let (protocol, port) = (port.protocol, port_name.clone());
                return Err(RegistrationError::PortTwice {
                    service: name,
                    protocol,
                    port,
                });
            }
            ports.insert(port);
        }
        let instance = match raw.id {
            Some(id) => id,
            // Names and addresses are short enough for an id in every case but two of full length.
            None => InstanceId::new(&default_id(&name, &namespace, *first, ports.first()))?,
        };
        Ok(Self {
            instance,
            name,
            namespace,
            addresses,
            ports,
            tags: raw.tags,
            priority,
            weight: raw.weight,
            checks: raw.checks,
        })
    }
}

impl From<Registration> for RawRegistration {
    fn from(registration: Registration) -> Self {
        let ports = registration.ports.into_iter().map(|port| RawPort {
            name: port.name,
            protocol: port.protocol,
            port: port.number,
        });
        Self {
            id: Some(registration.instance),
            name: registration.name,
            namespace: registration.namespace,
            address: None,
            addresses: registration.addresses,
            ports: ports.collect(),
            tags: registration.tags,
            priority: registration.priority,
            weight: registration.weight,
            checks: registration.checks,
        }
    }
}

/// The id of a registration that names none: the same for the same service at the same place.
fn default_id(
    name: &ServiceName,
    namespace: &Namespace,
    address: IpAddr,
    port: Option<&Port>,
) -> String {
    let place = match port {
        Some(port) => SocketAddr::new(address, port.number).to_string(),
        None => address.to_string(),
    };
    if namespace.is_default() {
        format!("{name}@{place}")
    } else {
        format!("{name}.{namespace}@{place}")
    }
}

/// Why no other host can reach an address, if so.
fn unreachable_kind(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
