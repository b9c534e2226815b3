//! The words of a service: state, protocol, port.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::names::{Namespace, PortName, ServiceId, ServiceName, Tag};

/// Whether a service should be used; a later variant is worse.
#[derive(
    Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Use it.
    #[default]
    Ready,
    /// Finish what is under way, begin nothing.
    Draining,
    /// Taken out by a person.
    Maintenance,
    /// Its health checks fail.
    Failing,
}

impl State {
    /// The number that travels.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Draining => 1,
            Self::Maintenance => 2,
            Self::Failing => 3,
        }
    }

    /// The state of a number; one not known is [`Failing`](Self::Failing): a state this version cannot judge
    /// must not attract traffic.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Ready,
            1 => Self::Draining,
            2 => Self::Maintenance,
            _ => Self::Failing,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Failing => "failing",
        })
    }
}

/// A transport protocol by its IANA number. Those without a name here pass through unharmed.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocol(pub u8);

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

impl Default for Protocol {
    fn default() -> Self {
        Self::TCP
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
            Self::SCTP => f.pad("sctp"),
            Self(number) => number.fmt(f),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a protocol: write tcp, udp, sctp or an IANA protocol number", .0.escape_debug())]
pub struct UnknownProtocol(String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        match text {
            "tcp" => Ok(Self::TCP),
            "udp" => Ok(Self::UDP),
            "sctp" => Ok(Self::SCTP),
            _ => text
                .parse()
                .map(Self)
                .map_err(|_| UnknownProtocol(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Protocol {
    type Error = UnknownProtocol;

    fn try_from(text: String) -> Result<Self, UnknownProtocol> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

/// A port a service listens on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its name, as in `_http._tcp`; a port without one is found through the service only.
    pub name: Option<PortName>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number, 1 to 65535.
    pub number: u16,
}

/// A service at one address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ServiceName,
    /// Its ports.
    pub ports: BTreeSet<Port>,
    /// Whether it should be used.
    pub state: State,
    /// 0 to 15; a lower one is used first (SRV, RFC 2782).
    pub priority: u8,
    /// Its share among those of the same priority (SRV, RFC 2782).
    pub weight: u16,
    /// Its tags.
    pub tags: BTreeSet<Tag>,
}

impl Service {
    /// The highest priority number a record holds.
    pub const MAX_PRIORITY: u8 = 15;

    /// The full name.
    #[must_use]
    pub fn id(&self) -> ServiceId {
        ServiceId::new(&self.name, &self.namespace)
    }

    /// The order in which services stand in a record: the namespace `default` first, because it is not written.
    pub(crate) fn record_order(a: &Self, b: &Self) -> std::cmp::Ordering {
        (!a.namespace.is_default(), a).cmp(&(!b.namespace.is_default(), b))
    }
}
