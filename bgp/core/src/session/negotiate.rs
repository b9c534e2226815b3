//! What two OPENs agree on.

use std::time::Duration;

use crate::{
    config::{BgpRole, PeerConfig, RemoteAs},
    types::{AS_TRANS, Asn, Family, RouterId},
    view::SessionType,
    wire::{
        Capabilities, GracefulRestart, MAX_EXTENDED, MAX_MESSAGE, Notification, Open, OpenError,
    },
};

/// Who we are towards a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) asn: Asn,
    pub(crate) router_id: RouterId,
}

/// What our OPENs say of our own restarts (RFC 4724, 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OurRestart {
    /// Restart Time, in seconds; 0: nobody is asked to hold our routes.
    pub(crate) time: u16,
    /// Long-lived Stale Time, in seconds (RFC 9494, 3); 0: nobody is asked to hold them beyond that.
    pub(crate) long_lived: u32,
    /// We have restarted, and are not to be waited for.
    pub(crate) restarting: bool,
    /// Packets are forwarded by our routes all the time.
    pub(crate) forwarding: bool,
}

/// The parameters of an Established session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) session_type: SessionType,
    pub(crate) peer_asn: Asn,
    pub(crate) peer_router_id: RouterId,
    /// Seconds; 0: no KEEPALIVEs and no hold timer.
    pub(crate) hold_time: u16,
    pub(crate) as4: bool,
    pub(crate) route_refresh: bool,
    /// Both put marks around what is told again (RFC 7313, 3.1).
    pub(crate) enhanced_refresh: bool,
    /// By [`Family::index`].
    pub(crate) families: [bool; 2],
    /// IPv4 prefixes may have IPv6 next hops, both ways (RFC 8950).
    pub(crate) extended_next_hop: bool,
    /// By [`Family::index`]: the peer's prefixes have path identifiers (RFC 7911, 3).
    pub(crate) add_path_receive: [bool; 2],
    /// By [`Family::index`]: ours have, and so many paths to a prefix are told at most; 0: they have not.
    pub(crate) add_path_send: [u8; 2],
    /// The longest message that may be sent (RFC 8654, 4).
    pub(crate) max_message: usize,
    /// The same of those that may come.
    pub(crate) max_received: usize,
    /// What we are to the peer, where it is in another AS (RFC 9234).
    pub(crate) role: Option<BgpRole>,
    /// The peer sends End-of-RIB (RFC 4724, 3).
    pub(crate) sends_end_of_rib: bool,
    /// The peer has restarted, and may wait for us.
    pub(crate) is_restarting: bool,
    /// Both may end the session by a NOTIFICATION as by a restart (RFC 8538, 2).
    pub(crate) notification: bool,
    /// The peer was asked to hold our routes, and knows how.
    pub(crate) holds_ours: bool,
    /// The peer knows what a long-lived stale route is (RFC 9494, 4.3).
    pub(crate) long_lived: bool,
    /// What the peer says of its restarts, where we hold its routes meanwhile.
    pub(crate) restart: Option<PeerRestart>,
}

/// A peer that may restart without its routes being lost (RFC 4724, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerRestart {
    /// How long it may take to come back.
    pub(crate) time: Duration,
    /// By [`Family::index`]: its routes are to be held.
    pub(crate) families: [bool; 2],
    /// By [`Family::index`]: it has kept its forwarding state.
    pub(crate) forwarding: [bool; 2],
    /// The same as the long-lived capability has it.
    pub(crate) long_forwarding: [bool; 2],
    /// By [`Family::index`]: how much longer they are held as the last choice (Long-lived Stale Time,
    /// RFC 9494, 4.2); zero: no longer.
    pub(crate) long_lived: [Duration; 2],
    /// A NOTIFICATION that is no Hard Reset ends a session as a restart does (RFC 8538, 4).
    pub(crate) notification: bool,
}

impl PeerRestart {
    fn of(theirs: &Capabilities, negotiated: [bool; 2]) -> Option<Self> {
        // Long-lived restart alone is ignored (RFC 9494, 3.1).
        let offered = theirs.graceful_restart.as_ref()?;
        let of = |family: Family| {
            let code = family.code();
            let mut families = offered.families.iter();
            let (.., kept) = families.find(|(afi, safi, _)| (*afi, *safi) == code)?;
            negotiated[family.index()].then_some(*kept)
        };
        let long = |family: Family| {
            let code = family.code();
            let mut families = theirs.long_lived.iter().flatten();
            let (.., kept, time) = families.find(|(afi, safi, ..)| (*afi, *safi) == code)?;
            let counts = negotiated[family.index()] && *time > 0;
            counts.then(|| (*kept, Duration::from_secs((*time).into())))
        };
        // "the GR Restart Time shall be deemed zero for those AFIs/SAFIs that are not listed"
        // (RFC 9494, 4.2).
        let restart = Self {
            time: Duration::from_secs(offered.time.into()),
            families: Family::ALL.map(|family| of(family).is_some()),
            forwarding: Family::ALL.map(|family| of(family) == Some(true)),
            long_forwarding: Family::ALL.map(|family| long(family).is_some_and(|(kept, _)| kept)),
            long_lived: Family::ALL
                .map(|family| long(family).map_or(Duration::ZERO, |(_, time)| time)),
            notification: offered.notification,
        };
        let holds = Family::ALL.map(|family| restart.holds(family.index()));
        holds.contains(&true).then_some(restart)
    }

    /// Whether routes of a family are held at all.
    pub(crate) fn holds(&self, family: usize) -> bool {
        !self.time(family).is_zero() || !self.long_lived[family].is_zero()
    }

    /// How long they are held as any other.
    pub(crate) fn time(&self, family: usize) -> Duration {
        match self.families[family] {
            true => self.time,
            false => Duration::ZERO,
        }
    }
}

impl Negotiated {
    /// KEEPALIVEs go out three times in a hold time (RFC 4271, 4.4).
    pub(crate) fn keepalive(&self) -> Option<Duration> {
        (self.hold_time != 0).then(|| self.hold() / 3)
    }

    pub(crate) fn hold(&self) -> Duration {
        Duration::from_secs(u64::from(self.hold_time))
    }
}

/// The OPEN we send; a *bare* one has no capabilities, for a peer that knows none (RFC 5492, 3).
pub(crate) fn our_open(
    identity: Identity,
    config: &PeerConfig,
    restart: OurRestart,
    bare: bool,
) -> Open {
    let identity = Identity {
        asn: config.shown_as(identity.asn),
        ..identity
    };
    let capabilities = if bare {
        Capabilities::default()
    } else {
        our_capabilities(identity, config, restart)
    };
    Open {
        asn: identity.asn,
        hold_time: config.hold_time,
        router_id: identity.router_id,
        capabilities,
    }
}

fn our_capabilities(identity: Identity, config: &PeerConfig, restart: OurRestart) -> Capabilities {
    let families: Vec<_> = config.families.iter().map(|family| family.code()).collect();
    let extended_next_hop = if extends_next_hops(config) {
        vec![IPV4_OVER_IPV6]
    } else {
        Vec::new()
    };
    let asks = config.graceful_restart && (restart.time > 0 || restart.long_lived > 0);
    let held = families.iter().filter(|_| asks);
    let long = held.clone().filter(|_| restart.long_lived > 0);
    let long = long.map(|&(afi, safi)| (afi, safi, restart.forwarding, restart.long_lived));
    Capabilities {
        route_refresh: true,
        enhanced_refresh: true,
        as4: Some(identity.asn),
        // Without families it means "I can tell when an initial update is over" (RFC 4724, 3), and
        // that we hold theirs. Neighbours send End-of-RIB only to a speaker that says so.
        graceful_restart: Some(GracefulRestart {
            restarting: restart.restarting,
            // A NOTIFICATION need not cost a neighbour's routes (RFC 8538, 2).
            notification: config.graceful_restart,
            time: if asks { restart.time } else { 0 },
            families: held
                .map(|&(afi, safi)| (afi, safi, restart.forwarding))
                .collect(),
        }),
        // Without families, that we hold theirs, and know what has been held so by others.
        long_lived: config.graceful_restart.then(|| long.collect()),
        extended_next_hop,
        add_path: our_add_path(config),
        extended_message: config.extended_messages,
        // Of use between ASes only; who the neighbour is, is not known for sure before its OPEN.
        role: config
            .bgp_role
            .filter(|_| config.remote_as != RemoteAs::Internal)
            .map(|role| role as u8),
        families,
        ..Capabilities::default()
    }
}

/// Receive, send, or both of several paths to a prefix (RFC 7911, 4).
const ADD_PATH_RECEIVE: u8 = 1;
const ADD_PATH_SEND: u8 = 2;

/// Whether more than the best path is told: fewer than two need no identifiers.
fn sends_paths(config: &PeerConfig) -> bool {
    config.add_path_send > 1
}

fn our_add_path(config: &PeerConfig) -> Vec<(u16, u8, u8)> {
    let receive = if config.add_path_receive {
        ADD_PATH_RECEIVE
    } else {
        0
    };
    let send = if sends_paths(config) {
        ADD_PATH_SEND
    } else {
        0
    };
    let families = config.families.iter().map(|family| family.code());
    families
        .filter(|_| receive | send != 0)
        .map(|(afi, safi)| (afi, safi, receive | send))
        .collect()
}

/// Whether the neighbour has offered this for a family.
fn offers_paths(theirs: &Capabilities, family: Family, mode: u8) -> bool {
    let code = family.code();
    let mut offered = theirs.add_path.iter();
    offered.any(|&(afi, safi, offer)| (afi, safi) == code && offer & mode != 0)
}

/// IPv4 unicast prefixes with IPv6 next hops (RFC 8950, 4).
const IPV4_OVER_IPV6: (u16, u8, u16) = (1, 1, 2);

fn extends_next_hops(config: &PeerConfig) -> bool {
    config.extended_next_hop && config.families.contains(&Family::Ipv4Unicast)
}

/// Judges the peer's OPEN (RFC 4271, 6.2).
pub(crate) fn negotiate(
    identity: Identity,
    config: &PeerConfig,
    restart: OurRestart,
    open: &Open,
    bare: bool,
) -> Result<Negotiated, Notification> {
    // Who takes us to be in another AS is in neither of the two: within one, LOCAL_PREF and reflection
    // would cross what the neighbour takes for its border.
    let in_ours = open.asn == identity.asn || open.asn == config.shown_as(identity.asn);
    let internal = in_ours && config.local_as.is_none();
    let expected = match config.remote_as {
        RemoteAs::Exact(asn) => open.asn == asn && in_ours == internal,
        RemoteAs::External => !in_ours,
        RemoteAs::Internal => internal,
    };
    // AS_TRANS stands for a number that is in the capability, and is nobody's (RFC 6793, 9).
    let nobody = open.asn == AS_TRANS;
    if !expected || nobody {
        return Err(Notification::open_error(OpenError::BadPeerAs));
    }
    // RFC 6286, 2.2: the identifier must be unique within an AS.
    if internal && open.router_id == identity.router_id {
        return Err(Notification::open_error(OpenError::BadIdentifier));
    }
    let theirs = &open.capabilities;
    let role = config.bgp_role.filter(|_| !internal);
    if let Some(role) = role {
        let fits = match theirs.role {
            Some(theirs) => theirs == role.counterpart() as u8,
            None => !config.bgp_role_strict,
        };
        if !fits {
            return Err(Notification::open_error(OpenError::RoleMismatch));
        }
    }
    let offers = |family: Family| {
        if theirs.families.is_empty() {
            // RFC 4760, 8: without the capability, IPv4 unicast is all there is.
            family == Family::Ipv4Unicast
        } else {
            theirs.families.contains(&family.code())
        }
    };
    let ours = |family: Family| {
        config.families.contains(&family) && (!bare || family == Family::Ipv4Unicast)
    };
    let families = Family::ALL.map(|family| ours(family) && offers(family));
    if !families.contains(&true) {
        // "The Data field in the NOTIFICATION message MUST list the set of capabilities that causes
        // the speaker to send the message" (RFC 5492, 5).
        let missing = Capabilities {
            families: config.families.iter().map(|family| family.code()).collect(),
            ..Capabilities::default()
        };
        let error = Notification::open_error(OpenError::UnsupportedCapability);
        return Err(error.with_data(missing.to_bytes()));
    }
    let offered = theirs.graceful_restart.as_ref();
    Ok(Negotiated {
        session_type: if internal {
            SessionType::Ibgp
        } else {
            SessionType::Ebgp
        },
        peer_asn: open.asn,
        peer_router_id: open.router_id,
        hold_time: config.hold_time.min(open.hold_time),
        as4: theirs.as4.is_some() && !bare,
        route_refresh: theirs.route_refresh && !bare,
        enhanced_refresh: theirs.enhanced_refresh && !bare,
        families,
        add_path_receive: Family::ALL.map(|family| {
            config.add_path_receive
                && families[family.index()]
                && offers_paths(theirs, family, ADD_PATH_SEND)
                && !bare
        }),
        add_path_send: Family::ALL.map(|family| {
            let told = sends_paths(config)
                && families[family.index()]
                && offers_paths(theirs, family, ADD_PATH_RECEIVE)
                && !bare;
            if told { config.add_path_send } else { 0 }
        }),
        extended_next_hop: extends_next_hops(config)
            && theirs.extended_next_hop.contains(&IPV4_OVER_IPV6)
            && !bare,
        max_message: match theirs.extended_message && config.extended_messages && !bare {
            true => MAX_EXTENDED,
            false => MAX_MESSAGE,
        },
        max_received: match config.extended_messages && !bare {
            true => MAX_EXTENDED,
            false => MAX_MESSAGE,
        },
        role,
        sends_end_of_rib: theirs.graceful_restart.is_some(),
        is_restarting: offered.is_some_and(|offered| offered.restarting),
        notification: config.graceful_restart
            && offered.is_some_and(|offered| offered.notification)
            && !bare,
        holds_ours: offered.is_some()
            && config.graceful_restart
            && (restart.time > 0 || (restart.long_lived > 0 && theirs.long_lived.is_some()))
            && !bare,
        long_lived: theirs.long_lived.is_some() && offered.is_some(),
        restart: match config.graceful_restart {
            true => PeerRestart::of(theirs, families),
            false => None,
        },
    })
}
