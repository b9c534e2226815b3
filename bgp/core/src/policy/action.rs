//! What a rule does to the attributes of a route it applies to.

use std::{fmt, net::IpAddr};

use super::{
    community::{AnyCommunity, CommunityPattern, large_octets},
    condition::origin_name,
    number::any_of,
    route::{NextHopChange, Session},
};
use crate::{
    attributes::Origin,
    rib::attr::DEFAULT_LOCAL_PREF,
    types::{Asn, Community, Family},
    wire::Edit,
};

/// One action of a rule; they are done in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Takes away every community that is meant.
    StripCommunities(Vec<CommunityPattern>),
    /// These in place of all others of the kinds (RFC 1997, 4360, 8092) that stand here.
    SetCommunities(Vec<AnyCommunity>),
    /// These beside what is there.
    AddCommunities(Vec<AnyCommunity>),
    /// LOCAL_PREF; added to, one that is absent counts as 100.
    LocalPref(Amount),
    /// MULTI_EXIT_DISC; added to, one that is absent counts as 0.
    Med(Amount),
    /// No MULTI_EXIT_DISC: "An implementation MUST provide a mechanism (based on local
    /// configuration) that allows the MULTI_EXIT_DISC attribute to be removed from a route"
    /// (RFC 4271, 5.1.4).
    RemoveMed,
    /// An AS before the path: our own unless one is given. On an external session ours is put
    /// there once more in any case (RFC 4271, 5.1.2).
    Prepend {
        /// The AS.
        asn: Option<Asn>,
        /// How often.
        times: u8,
    },
    /// The next hop.
    NextHop(NextHopTo),
    /// ORIGIN.
    Origin(Origin),
}

/// A number, or how much more or less than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Amount {
    /// This.
    Set(u32),
    /// So much more, 4294967295 at most.
    Add(u32),
    /// So much less, 0 at least.
    Subtract(u32),
}

/// Where the next hop is turned to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NextHopTo {
    /// Our own address on the session.
    Own,
    /// As it was received.
    Unchanged,
    /// The neighbour on the session.
    Peer,
    /// The first of these of the route's family; routes of another family keep theirs.
    Addresses(Vec<IpAddr>),
}

impl Amount {
    fn of(self, before: u32) -> u32 {
        match self {
            Self::Set(number) => number,
            Self::Add(more) => before.saturating_add(more),
            Self::Subtract(less) => before.saturating_sub(less),
        }
    }
}

impl Action {
    pub(super) fn apply(
        &self,
        edit: &mut Edit<'_>,
        next_hop: &mut NextHopChange,
        session: &Session,
        family: Family,
    ) {
        match self {
            Self::StripCommunities(patterns) => strip(edit, patterns),
            Self::SetCommunities(communities) => {
                for community in communities {
                    match community {
                        AnyCommunity::Standard(_) => edit.set_communities(&[]),
                        AnyCommunity::Extended(_) => edit.set_extended(&[]),
                        AnyCommunity::Large(_) => edit.set_large(&[]),
                    }
                }
                add(edit, communities);
            }
            Self::AddCommunities(communities) => add(edit, communities),
            Self::LocalPref(amount) => {
                let before = edit.local_pref().unwrap_or(DEFAULT_LOCAL_PREF);
                edit.set_local_pref(amount.of(before));
            }
            Self::Med(amount) => edit.set_med(Some(amount.of(edit.med().unwrap_or(0)))),
            Self::RemoveMed => edit.set_med(None),
            Self::Prepend { asn, times } => edit.prepend(asn.unwrap_or(session.local_as), *times),
            Self::NextHop(to) => match to {
                NextHopTo::Own => *next_hop = NextHopChange::Own,
                NextHopTo::Unchanged => *next_hop = NextHopChange::Unchanged,
                NextHopTo::Peer => *next_hop = NextHopChange::Address(session.address),
                NextHopTo::Addresses(addresses) => {
                    let ipv4 = family == Family::Ipv4Unicast;
                    if let Some(addr) = addresses.iter().find(|addr| addr.is_ipv4() == ipv4) {
                        *next_hop = NextHopChange::Address(*addr);
                    }
                }
            },
            Self::Origin(origin) => edit.set_origin(*origin as u8),
        }
    }
}

/// Mostly nothing is meant, which is found out before anything is copied.
fn strip(edit: &mut Edit<'_>, patterns: &[CommunityPattern]) {
    let meant = |matches: &dyn Fn(&CommunityPattern) -> bool| patterns.iter().any(matches);
    let standard = |octets: &[u8; 4]| meant(&|pattern| pattern.matches_standard(*octets));
    if edit.communities().iter().any(standard) {
        let mut left = edit.communities().to_vec();
        left.retain(|octets| !standard(octets));
        edit.set_communities(&left);
    }
    let extended = |octets: &[u8; 8]| meant(&|pattern| pattern.matches_extended(*octets));
    if edit.extended().iter().any(extended) {
        let mut left = edit.extended().to_vec();
        left.retain(|octets| !extended(octets));
        edit.set_extended(&left);
    }
    let large = |octets: &[u8; 12]| meant(&|pattern| pattern.matches_large(octets));
    if edit.large().iter().any(large) {
        let mut left = edit.large().to_vec();
        left.retain(|octets| !large(octets));
        edit.set_large(&left);
    }
}

/// Puts communities behind those that are there. One that is there already is not repeated, which
/// large ones must not be (RFC 8092, 3).
fn add(edit: &mut Edit<'_>, communities: &[AnyCommunity]) {
    let mut standard = Vec::new();
    let mut extended = Vec::new();
    let mut large = Vec::new();
    for community in communities {
        match community {
            AnyCommunity::Standard(Community(number)) => {
                push(&mut standard, edit.communities(), number.to_be_bytes());
            }
            AnyCommunity::Extended(octets) => push(&mut extended, edit.extended(), *octets),
            AnyCommunity::Large(parts) => {
                push(&mut large, edit.large(), large_octets(*parts));
            }
        }
    }
    if !standard.is_empty() {
        edit.set_communities(&[edit.communities(), &standard].concat());
    }
    if !extended.is_empty() {
        edit.set_extended(&[edit.extended(), &extended].concat());
    }
    if !large.is_empty() {
        edit.set_large(&[edit.large(), &large].concat());
    }
}

fn push<T: PartialEq>(new: &mut Vec<T>, there: &[T], item: T) {
    if !there.contains(&item) && !new.contains(&item) {
        new.push(item);
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |communities: &[AnyCommunity]| {
            let texts: Vec<_> = communities.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        match self {
            Self::StripCommunities(patterns) => write!(f, "strip {}", any_of(patterns)),
            Self::SetCommunities(communities) => write!(f, "set community {}", list(communities)),
            Self::AddCommunities(communities) => write!(f, "add {}", list(communities)),
            Self::LocalPref(amount) => write!(f, "LOCAL_PREF {amount}"),
            Self::Med(amount) => write!(f, "MED {amount}"),
            Self::RemoveMed => f.write_str("no MED"),
            Self::Prepend {
                asn: Some(asn),
                times,
            } => write!(f, "prepend {asn} {times} times"),
            Self::Prepend { asn: None, times } => write!(f, "prepend our AS {times} times"),
            Self::NextHop(to) => write!(f, "next hop {to}"),
            Self::Origin(origin) => write!(f, "ORIGIN {}", origin_name(*origin)),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(number) => number.fmt(f),
            Self::Add(more) => write!(f, "+{more}"),
            Self::Subtract(less) => write!(f, "-{less}"),
        }
    }
}

impl fmt::Display for NextHopTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("self"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Peer => f.write_str("peer"),
            Self::Addresses(addresses) => any_of(addresses).fmt(f),
        }
    }
}
