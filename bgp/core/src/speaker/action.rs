//! What a driver is asked to do, and what it tells about a connection.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{Peer, rules};
use crate::{
    attributes::NextHop,
    config::{BfdTimers, Password, PeerConfig, Policy, SpeakerConfig},
    out::{ExportRules, GroupKey, PathChange},
    session::{ConnId, Negotiated},
    types::Family,
    view::{BfdState, SessionType},
};

/// What the driver should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The driver should open a TCP connection and report [`crate::Speaker::connected`] or
    /// [`crate::Speaker::closed`].
    Connect {
        /// Its number.
        conn: ConnId,
        /// Where to.
        remote: SocketAddr,
        /// The interface of a link-local address.
        interface: Option<Arc<str>>,
        /// Where from, when configured.
        local: Option<IpAddr>,
        /// TTL or hop limit of what is sent, when it is not the system's.
        ttl: Option<u8>,
        /// Least TTL of what is received (RFC 5082).
        min_ttl: Option<u8>,
        /// What segments are signed with (RFC 2385).
        password: Option<Password>,
    },
    /// The driver should watch the way to the peer with BFD while this session is up, and report
    /// [`crate::Speaker::bfd`].
    BfdStart {
        /// The session's connection.
        conn: ConnId,
        /// The peer's end.
        remote: IpAddr,
        /// Our end.
        local: IpAddr,
        /// The interface the peer is on, one hop away; without it there may be several.
        link: Option<Arc<str>>,
        /// How fast.
        timers: BfdTimers,
    },
    /// BFD goes on as fast as this.
    BfdTimers {
        /// The session's connection.
        conn: ConnId,
        /// How fast.
        timers: BfdTimers,
    },
    /// No longer.
    BfdStop {
        /// The session's connection.
        conn: ConnId,
    },
    /// The driver should write what [`crate::Speaker::output`] gives without waiting long for
    /// it, close the connection, and report [`crate::Speaker::closed`].
    Close {
        /// Its number.
        conn: ConnId,
    },
}

/// What is known about an open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnInfo {
    /// The peer's end.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// An IPv4 address of the interface our end is on.
    pub own_v4: Option<Ipv4Addr>,
    /// A global IPv6 address of that interface.
    pub own_v6: Option<Ipv6Addr>,
    /// The link-local IPv6 address of that interface.
    pub link_local: Option<Ipv6Addr>,
    /// The name of that interface, when the peer's address means something there only.
    pub interface: Option<Arc<str>>,
    /// The name of that interface, when the peer is on its link: one hop away.
    pub link: Option<Arc<str>>,
}

/// What BFD says of the way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BfdReport {
    /// The session's state, and nothing that should close ours.
    State(BfdState),
    /// The way is broken.
    Failed,
    /// BFD does not run; why, in words.
    Trouble(String),
    /// It does again.
    Healed,
}

pub(super) fn connect(
    conn: ConnId,
    address: IpAddr,
    peer: &PeerConfig,
    speaker: &SpeakerConfig,
) -> Action {
    let (ttl, min_ttl) = ttls(peer, speaker);
    Action::Connect {
        conn,
        remote: SocketAddr::new(address, peer.port),
        interface: peer.interface.as_deref().map(Arc::from),
        local: peer.local_address,
        ttl,
        min_ttl,
        password: peer.password.clone(),
    }
}

/// TTL to send with and least TTL to receive. A neighbour in another AS is on the same link
/// unless told otherwise.
pub(super) fn ttls(peer: &PeerConfig, speaker: &SpeakerConfig) -> (Option<u8>, Option<u8>) {
    if peer.ttl_security {
        return (Some(255), Some(255));
    }
    let external = peer.is_external(speaker.asn);
    (peer.ttl.or(external.then_some(1)), None)
}

/// The group a session belongs to.
pub(super) fn group_key(
    speaker: &SpeakerConfig,
    peer: &Peer,
    negotiated: &Negotiated,
    info: &ConnInfo,
) -> GroupKey {
    let rules = match &peer.session.config().export {
        Policy::Rules(rules) => {
            let session = rules::session(peer, speaker.asn);
            Some(ExportRules::new(Arc::clone(rules), session))
        }
        Policy::None | Policy::All | Policy::Own | Policy::Within(_) => None,
    };
    let peer = peer.session.config();
    let v4 = match info.local.ip().to_canonical() {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => info.own_v4,
    };
    let v6 = match info.local.ip().to_canonical() {
        IpAddr::V6(addr) if !is_link_local(addr) => Some(addr),
        IpAddr::V6(_) | IpAddr::V4(_) => info.own_v6,
    };
    // "The link-local address shall be included in the Next Hop field if and only if the BGP speaker
    // shares a common subnet with the entity identified by the global IPv6 address [...] and the peer
    // the route is being advertised to" (RFC 2545, 3). Alone, it stands in its place.
    let on_link = info.link.is_some() || info.interface.is_some();
    let link_local = info.link_local.filter(|_| on_link);
    let v6 = match (v6, link_local) {
        (Some(global), link_local) => Some(NextHop {
            addr: IpAddr::V6(global),
            link_local,
        }),
        (None, Some(link_local)) => Some(NextHop::from(IpAddr::V6(link_local))),
        (None, None) => None,
    };
    // IPv4 routers forward to an IPv4 address more surely than to an IPv6 one. Where the session itself
    // needs none, an IPv4 address of the interface need not be one that the neighbour is near by.
    let over_v6 = v6.filter(|_| negotiated.extended_next_hop);
    let v4 = v4.map(|addr| NextHop::from(IpAddr::V4(addr)));
    let v4 = match info.interface {
        Some(_) => over_v6.or(v4),
        None => v4.or(over_v6),
    };
    let mut own_next_hop = [None, None];
    own_next_hop[Family::Ipv4Unicast.index()] = v4;
    own_next_hop[Family::Ipv6Unicast.index()] = v6;
    GroupKey {
        families: negotiated.families,
        as4: negotiated.as4,
        ebgp: negotiated.session_type == SessionType::Ebgp,
        client: peer.reflector_client,
        next_hop_self: peer.next_hop_self,
        local_asn: peer.shown_as(speaker.asn),
        path: PathChange::towards(peer, speaker.asn, negotiated),
        cluster_id: speaker.cluster_id.unwrap_or(speaker.router_id),
        own_next_hop,
        ipv6_next_hop_for_ipv4: negotiated.extended_next_hop,
        add_path: negotiated.add_path_send,
        role: negotiated.role,
        long_lived: negotiated.long_lived,
        discovery: peer.discovery,
        max_message: negotiated.max_message,
        // Rules are compared by what they do, not by what they are called.
        export: match rules {
            Some(_) => Policy::All,
            None => peer.export.clone(),
        },
        rules,
    }
}

fn is_link_local(addr: Ipv6Addr) -> bool {
    addr.segments()[0] & 0xffc0 == 0xfe80
}
