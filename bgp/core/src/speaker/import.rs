//! What is accepted from a peer.
//!
//! Refusals that follow from the attributes are found once per set, those that follow from the
//! prefix once per route. A refused route stays in adj-RIB-in, and can be listed with its reason.
//! Rules, where the peer has any, are asked last: see [`super::rules`].

use std::net::{IpAddr, Ipv4Addr};

use super::{Peer, Speaker};
use crate::{
    attributes::NextHop,
    config::{BgpRole, PeerConfig, Policy},
    rib::{
        attr::{AttrArena, AttrId, DISCOVERY},
        source::Slot,
    },
    types::Prefix,
    wire::{
        AttrFacts, Edit, cluster_list_contains, contains_large_community, facts_of,
        only_to_customer, path_contains,
    },
};

/// Why a route is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Own,
    FirstAs,
    OwnAs,
    LocalAs,
    OwnOriginator,
    OwnCluster,
    NextHop,
    OwnNextHop,
    LinkLocal,
    Leak,
    Discovery,
    NoPolicy,
    OutsidePolicy,
    Martian,
}

impl Refusal {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Own => "it is a route of our own, sent back",
            Self::FirstAs => "its AS_PATH does not begin with its peer's AS (`enforce_first_as`)",
            Self::OwnAs => "our AS is in its AS_PATH",
            Self::LocalAs => "the AS its peer takes us to be in (`local_as`) is in its AS_PATH",
            Self::OwnOriginator => "its ORIGINATOR_ID is ours (RFC 4456, 8)",
            Self::OwnCluster => "our CLUSTER_ID is in its CLUSTER_LIST (RFC 4456, 8)",
            Self::NextHop => "its next hop is no unicast address of a neighbour",
            Self::OwnNextHop => "its next hop is our own address",
            Self::LinkLocal => {
                "its next hop is a link-local address, and its session is on no interface where that means \
                 something"
            }
            Self::Leak => {
                "a route leak: it is marked as one for customers only, and came from elsewhere (RFC 9234, 5)"
            }
            Self::Discovery => "it carries services, and its peer may not (`discovery = true`)",
            Self::NoPolicy => "no import policy (RFC 8212)",
            Self::OutsidePolicy => "outside the prefixes that import policy lets in",
            Self::Martian => "such a prefix is never routed",
        }
    }
}

impl Speaker {
    /// Judges a set of attributes from `slot`.
    pub(super) fn refuses_set(&self, slot: Slot, attr: AttrId) -> Option<Refusal> {
        let peer = self.peer(slot)?;
        let config = peer.session.config();
        if config.import == Policy::None {
            return Some(Refusal::NoPolicy);
        }
        // Rules may have taken the services off by the time this is asked.
        let ruled = matches!(config.import, Policy::Rules(_));
        if !ruled && self.shared.attrs.key(attr).flags & DISCOVERY != 0 && !config.discovery {
            return Some(Refusal::Discovery);
        }
        let bytes = self.shared.attrs.bytes(attr);
        if self.is_our_own(attr, bytes) {
            return Some(Refusal::Own);
        }
        if peer.is_ebgp() && config.enforce_first_as {
            let first = self.shared.attrs.key(attr).neighbor_as;
            if peer
                .session
                .last_open()
                .is_none_or(|open| open.asn.0 != first)
            {
                return Some(Refusal::FirstAs);
            }
        }
        if path_contains(bytes, self.config.asn) > usize::from(config.allow_own_as) {
            return Some(Refusal::OwnAs);
        }
        if let Some(local) = config.local_as
            && path_contains(bytes, local.asn) > usize::from(config.allow_own_as)
        {
            return Some(Refusal::LocalAs);
        }
        if self.shared.attrs.key(attr).flags & AttrFacts::ONLY_TO_CUSTOMER != 0 {
            // The peer is a customer or client of ours, or it is neither and says so for another.
            let leaked = match peer.role() {
                Some(BgpRole::Provider | BgpRole::RouteServer) => true,
                Some(BgpRole::Peer) => only_to_customer(bytes) != peer.asn(),
                Some(BgpRole::Customer | BgpRole::RouteServerClient) | None => false,
            };
            if leaked {
                return Some(Refusal::Leak);
            }
        }
        if !peer.is_ebgp() {
            if self.shared.attrs.key(attr).originator_id == self.config.router_id.to_u32() {
                return Some(Refusal::OwnOriginator);
            }
            let cluster = self.config.cluster_id.unwrap_or(self.config.router_id);
            if cluster_list_contains(bytes, cluster) {
                return Some(Refusal::OwnCluster);
            }
        }
        let NextHop { addr, .. } = self.shared.attrs.next_hop(attr)?;
        if !is_usable_next_hop(addr) {
            return Some(Refusal::NextHop);
        }
        if peer.own_addresses.contains(addr) {
            return Some(Refusal::OwnNextHop);
        }
        let link_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        let nowhere = link_local && !self.shared.sources[slot.index()].on_interface;
        nowhere.then_some(Refusal::LinkLocal)
    }

    /// What counts of a set that is not refused: see [`as_adjusted`](Self::as_adjusted).
    pub(super) fn adjusted(&mut self, slot: Slot, received: AttrId) -> AttrId {
        let Some(canonical) = self.as_adjusted(slot, received) else {
            return received;
        };
        let next_hop = self.shared.attrs.next_hop(received);
        let facts = as_before(&self.shared.attrs, received, &canonical);
        self.shared.attrs.intern(&canonical, next_hop, &facts)
    }

    /// What counts in the place of a set, with what the protocol has a receiver change; `None`: itself.
    ///
    /// LOCAL_PREF is 0 where an external neighbour says that the way through it is about to go ("the
    /// RECOMMENDED value is 0", RFC 8326, 4.2): others are preferred, and those who have none go on using
    /// it. What comes from a provider, a peer or a route server is for customers only (RFC 9234, 5). And it
    /// has come through the AS that the neighbour takes us to be in: for whoever is told, that lies on the
    /// way.
    pub(super) fn as_adjusted(&self, slot: Slot, received: AttrId) -> Option<Vec<u8>> {
        if received.is_none() {
            return None;
        }
        let attrs = &self.shared.attrs;
        let peer = self.peer(slot)?;
        let leaving = self.is_leaving(slot, received);
        let is_marked = attrs.key(received).flags & AttrFacts::ONLY_TO_CUSTOMER != 0;
        let marks = match peer.role().filter(|_| !is_marked) {
            Some(BgpRole::Customer | BgpRole::Peer | BgpRole::RouteServerClient) => peer.asn(),
            Some(BgpRole::Provider | BgpRole::RouteServer) | None => None,
        };
        let local_as = peer.session.config().local_as;
        let through = local_as.filter(|local| local.prepend);
        if !leaving && marks.is_none() && through.is_none() {
            return None;
        }
        let mut canonical = Vec::new();
        let mut edit = Edit::new(attrs.bytes(received));
        if leaving {
            edit.set_local_pref(0);
        }
        if let Some(asn) = marks {
            edit.set_only_to_customer(asn);
        }
        if let Some(local) = through {
            edit.prepend(local.asn, 1);
        }
        edit.finish(true, &mut canonical);
        Some(canonical)
    }

    /// Whether an external neighbour says by a set that the way through it is about to go.
    pub(super) fn is_leaving(&self, slot: Slot, received: AttrId) -> bool {
        self.shared.attrs.key(received).flags & AttrFacts::GRACEFUL_SHUTDOWN != 0
            && self.peer(slot).is_some_and(Peer::is_ebgp)
    }

    /// Whether a set carries all marks of our own routes.
    fn is_our_own(&self, attr: AttrId, bytes: &[u8]) -> bool {
        let marks = &self.config.own_marks;
        !marks.is_empty()
            && self.shared.attrs.key(attr).flags & AttrFacts::HAS_LARGE != 0
            && marks
                .iter()
                .all(|&mark| contains_large_community(bytes, mark))
    }
}

/// A set with the community LLGR_STALE (RFC 9494, 4.2).
pub(super) fn as_long_lived(attrs: &mut AttrArena, attr: AttrId) -> AttrId {
    if attrs.key(attr).flags & AttrFacts::LLGR_STALE != 0 {
        return attr;
    }
    let mut canonical = Vec::new();
    let mut edit = Edit::new(attrs.bytes(attr));
    let mark = AttrFacts::LLGR_STALE_COMMUNITY.to_be_bytes();
    edit.set_communities(&[edit.communities(), &[mark]].concat());
    edit.finish(true, &mut canonical);
    let next_hop = attrs.next_hop(attr);
    let facts = as_before(attrs, attr, &canonical);
    attrs.intern(&canonical, next_hop, &facts)
}

/// The facts of what was made of a set on import. The neighbouring AS is the one it was received from,
/// whatever was put before the path: MED compares among its routes alone (RFC 4271, 9.1.2.2 c).
pub(super) fn as_before(attrs: &AttrArena, before: AttrId, canonical: &[u8]) -> AttrFacts {
    AttrFacts {
        neighbor_as: attrs.key(before).neighbor_as,
        ..facts_of(canonical)
    }
}

/// Judges a prefix that came with an accepted set, as far as it takes no rules.
pub(super) fn refuses_prefix(config: &PeerConfig, prefix: Prefix) -> Option<Refusal> {
    if is_martian(prefix) {
        return Some(Refusal::Martian);
    }
    match &config.import {
        Policy::All | Policy::Rules(_) => None,
        Policy::None | Policy::Own => Some(Refusal::NoPolicy),
        Policy::Within(within) => {
            let inside = within.iter().any(|outer| outer.contains(prefix));
            (!inside).then_some(Refusal::OutsidePolicy)
        }
    }
}

/// RFC 4271, 6.3: a unicast address. Loopback is let through: speakers on one machine use it.
pub(super) fn is_usable_next_hop(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => {
            !addr.is_unspecified() && !addr.is_multicast() && addr != Ipv4Addr::BROADCAST
        }
        IpAddr::V6(addr) => !addr.is_unspecified() && !addr.is_multicast(),
    }
}

/// Prefixes that mean something else than a destination behind a router: "this network",
/// loopback, link-local, multicast and what lies past it (RFC 6890). The default route is none.
fn is_martian(prefix: Prefix) -> bool {
    match prefix {
        Prefix::V4(prefix) => {
            let [first, second, ..] = prefix.addr().octets();
            let this_network = first == 0 && prefix.len() >= 8;
            let link_local = first == 169 && second == 254 && prefix.len() >= 16;
            this_network
                || (first == 127 && prefix.len() >= 8)
                || link_local
                || (first >= 224 && prefix.len() >= 3)
        }
        Prefix::V6(prefix) => {
            let head = prefix.addr().segments()[0];
            let low = prefix.bits() <= 1 && prefix.len() == 128;
            low || (head & 0xffc0 == 0xfe80 && prefix.len() >= 10)
                || (head & 0xff00 == 0xff00 && prefix.len() >= 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martians_are_told_from_destinations() {
        for text in [
            "0.0.0.0/8",
            "127.0.0.1/32",
            "169.254.1.0/24",
            "224.0.0.0/4",
            "240.1.0.0/16",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "fe80::/64",
            "ff02::/16",
        ] {
            assert!(is_martian(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8",
            "169.0.0.0/8",
            "192.0.2.1/32",
            "fd00::/8",
            "1.0.0.0/24",
        ] {
            assert!(!is_martian(text.parse().unwrap()), "{text}");
        }
    }
}
