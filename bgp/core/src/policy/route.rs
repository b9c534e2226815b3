//! What a policy is asked about: a session, a set of attributes, a prefix.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    attributes::NextHop,
    types::{Asn, Family, Prefix},
};

/// The session a policy stands on: on import the one a route came in by, on export the one it
/// goes out by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// Name of the neighbour.
    pub peer: String,
    /// The group of neighbours it belongs to: a listen range.
    pub group: Option<String>,
    /// The word of its ready-made policy, such as `host`.
    pub role: Option<String>,
    /// Its address: what `next hop: peer` means.
    pub address: IpAddr,
    /// It is in another AS.
    pub external: bool,
    /// Our AS towards it: what is prepended unless a number is given.
    pub local_as: Asn,
}

/// Where a route came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This speaker originates it.
    Own,
    /// From a neighbour in our AS.
    Internal,
    /// From a neighbour in another AS.
    External,
}

/// The validation state of a route (RFC 6811, 2). Nobody here asks a validator yet: every route is
/// `not-found` until one does.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// A VRP covers and matches it.
    Valid,
    /// VRPs cover it and none matches.
    Invalid,
    /// No VRP covers it.
    #[default]
    NotFound,
}

/// What routes share that came with the same attributes.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// Their family.
    pub family: Family,
    /// Where they came from.
    pub source: Source,
    /// The attributes in canonical form (see [`crate::wire`]).
    pub attributes: &'a [u8],
    /// Their next hop; `None`: our own address on each session.
    pub next_hop: Option<NextHop>,
}

/// One route of a set.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The prefix; of the set's family.
    pub prefix: Prefix,
    /// Its validation state.
    pub validation: Validation,
    /// Everything else about it.
    pub set: Set<'a>,
}

/// What becomes of the next hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NextHopChange {
    /// What the session does with it anyway (RFC 4271, 5.1.3).
    #[default]
    Usual,
    /// Our own address on the session, on internal sessions too.
    Own,
    /// As it was received, on external sessions too.
    Unchanged,
    /// This address.
    Address(IpAddr),
}

/// Attributes after the actions of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Changed {
    /// In canonical form.
    pub attributes: Vec<u8>,
    /// What becomes of the next hop.
    pub next_hop: NextHopChange,
}

impl NextHopChange {
    /// The next hop that later rules see, of routes that had `before`.
    pub(super) fn seen(self, before: Option<NextHop>) -> Option<IpAddr> {
        match self {
            Self::Usual | Self::Unchanged => before.map(|next_hop| next_hop.addr),
            Self::Own => None,
            Self::Address(addr) => Some(addr),
        }
    }
}
