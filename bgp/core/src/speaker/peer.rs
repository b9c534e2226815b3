//! One neighbour: its session, its counters.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{ConnInfo, malformed::Malformed, rules::Import};
use crate::{
    config::{BgpRole, PeerConfig},
    session::{Identity, Negotiated, Session},
    types::{Asn, Prefix, Time},
    view::{BfdState, FamilyCounts, MessageCounts, SessionType},
};

/// What a neighbour is to tell anew of a family.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stale {
    /// How many paths are stale, and how many of these are accepted: parts of [`FamilyCounts`].
    pub(super) received: u32,
    pub(super) accepted: u32,
    /// When what is still stale is dropped at the latest; `None`: nothing is stale.
    pub(super) until: Option<Time>,
    /// How much longer it is held then, as the last choice (RFC 9494); zero: no longer.
    pub(super) long: Duration,
    /// When that is over for what has been held so first: "the timer MUST NOT be restarted" by further
    /// losses of the session.
    pub(super) long_until: Option<Time>,
    /// It is so between the marks of a refresh, not for a restart.
    pub(super) by_refresh: bool,
    /// When the neighbour last said that it tells everything anew.
    pub(super) begun: Option<Time>,
}

impl Stale {
    /// Whether something is held, however long.
    pub(super) fn is_held(&self) -> bool {
        self.until.is_some() || self.long_until.is_some()
    }

    /// Whether what is held has become the last choice. What was lost since then counts as that too when
    /// policy judges it anew.
    pub(super) fn is_long_lived(&self) -> bool {
        self.long_until.is_some()
    }

    /// One of them was told anew, or is gone.
    pub(super) fn leave(&mut self, was_accepted: bool) {
        self.received = self.received.saturating_sub(1);
        self.accepted = self.accepted.saturating_sub(u32::from(was_accepted));
    }
}

/// What a neighbour must not give us as next hop: ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnAddresses([Option<IpAddr>; 4]);

impl OwnAddresses {
    pub(super) fn of(info: &ConnInfo) -> Self {
        Self([
            Some(info.local.ip().to_canonical()),
            info.own_v4.map(IpAddr::V4),
            info.own_v6.map(IpAddr::V6),
            info.link_local.map(IpAddr::V6),
        ])
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&Some(address))
    }
}

/// A neighbour.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: Arc<str>,
    pub(super) interface: Option<Arc<str>>,
    pub(super) session: Session,
    /// The listen range it came from: it is forgotten when nothing is to be remembered of it.
    pub(super) range: Option<Prefix>,
    /// Its update group while Established.
    pub(super) group: Option<usize>,
    /// The deadline its timer is set to.
    pub(super) armed: Option<Time>,
    pub(super) state_since: Time,
    pub(super) established_count: u64,
    pub(super) sent: MessageCounts,
    pub(super) received: MessageCounts,
    /// By family index.
    pub(super) counts: [FamilyCounts; 2],
    /// When the last UPDATE with routes came in this session.
    pub(super) last_route: Time,
    pub(super) treated_as_withdraw: u64,
    /// Paths that were ignored: there were too many to one prefix.
    pub(super) too_many_paths: u64,
    pub(super) attributes_discarded: u64,
    pub(super) last_malformed: Option<String>,
    /// Messages that were malformed.
    pub(super) malformed: Malformed,
    /// What is stale, by family.
    pub(super) stale: [Stale; 2],
    /// What BFD says, while it watches.
    pub(super) bfd: Option<BfdState>,
    /// Why it does not.
    pub(super) bfd_trouble: Option<String>,
    pub(super) local_address: Option<IpAddr>,
    /// The addresses of the interface of the last session.
    pub(super) own_addresses: OwnAddresses,
    /// The interface of the last session, where the peer was on its link.
    pub(super) link: Option<Arc<str>>,
    /// What its import rules say, if it has any; from the first session on.
    pub(super) import: Option<Import>,
    session_type: Option<SessionType>,
}

impl Peer {
    pub(super) fn new(
        now: Time,
        config: PeerConfig,
        identity: Identity,
        seed: u64,
        range: Option<Prefix>,
    ) -> Self {
        Self {
            name: config.name.as_str().into(),
            interface: config.interface.as_deref().map(Arc::from),
            session: Session::new(config, identity, seed),
            range,
            group: None,
            armed: None,
            state_since: now,
            established_count: 0,
            sent: MessageCounts::default(),
            received: MessageCounts::default(),
            counts: [FamilyCounts::default(); 2],
            last_route: now,
            treated_as_withdraw: 0,
            too_many_paths: 0,
            attributes_discarded: 0,
            last_malformed: None,
            malformed: Malformed::default(),
            stale: [Stale::default(); 2],
            bfd: None,
            bfd_trouble: None,
            local_address: None,
            own_addresses: OwnAddresses::default(),
            link: None,
            import: None,
            session_type: None,
        }
    }

    /// Where it is: `::` as long as an unnumbered one was not found.
    pub(super) fn address(&self) -> IpAddr {
        let configured = self.session.config().address;
        self.session.remote().unwrap_or(configured)
    }

    /// The session is up. What is held of it over a restart, by family, stays in the counts.
    pub(super) fn came_up(
        &mut self,
        now: Time,
        info: &ConnInfo,
        negotiated: &Negotiated,
        held: [bool; 2],
    ) {
        self.established_count += 1;
        for (counts, held) in self.counts.iter_mut().zip(held) {
            *counts = FamilyCounts {
                end_of_rib: false,
                ..if held {
                    *counts
                } else {
                    FamilyCounts::default()
                }
            };
        }
        self.last_route = now;
        self.link = info.link.clone();
        self.local_address = Some(info.local.ip().to_canonical());
        self.own_addresses = OwnAddresses::of(info);
        self.session_type = Some(negotiated.session_type);
    }

    /// What we are to it (RFC 9234), in a session or the last one.
    pub(super) fn role(&self) -> Option<BgpRole> {
        self.session.config().bgp_role.filter(|_| self.is_ebgp())
    }

    /// Its AS, once it has said so.
    pub(super) fn asn(&self) -> Option<Asn> {
        self.session.last_open().map(|open| open.asn)
    }

    pub(super) fn session_type(&self) -> Option<SessionType> {
        self.session_type
    }

    pub(super) fn is_ebgp(&self) -> bool {
        self.session_type == Some(SessionType::Ebgp)
    }
}
