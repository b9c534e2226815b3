//! What a speaker is told to be. Values are validated where they are read (the agent's
//! configuration); [`crate::Speaker`] checks again only what would break an invariant.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    policy::Rules,
    types::{Asn, Family, LargeCommunity, Prefix, RouterId},
};

/// The whole configuration of a speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// The BGP identifier (RFC 6286).
    pub router_id: RouterId,
    /// The AS this speaker belongs to.
    pub asn: Asn,
    /// CLUSTER_ID for reflection (RFC 4456); the router id when unset.
    pub cluster_id: Option<RouterId>,
    /// Where the driver listens; empty: it does not.
    pub listen: Vec<SocketAddr>,
    /// Global administrator of the large communities that carry service discovery. A route with
    /// the mark `NUMBER:1:*` passes only between peers that may carry discovery.
    pub discovery: Option<u32>,
    /// All routes of this speaker's own carry these. What comes back from a peer with all of them is
    /// refused: some neighbours send our routes back to us, and where hosts share an AS, or ours is
    /// let in once, nothing else tells. Empty: nothing is told apart.
    pub own_marks: Vec<LargeCommunity>,
    /// Most equal paths handed to the kernel for one prefix; 1 switches multipath off.
    pub multipath: u8,
    /// For how long neighbours are asked to hold our routes while this speaker restarts (Restart Time,
    /// RFC 4724, 3), in seconds up to 4095; 0: they are not asked. Held by sessions opened from now on.
    pub restart_time: u16,
    /// For how long they are asked to hold them as the last choice after that (Long-lived Stale Time,
    /// RFC 9494, 3), in seconds up to 2^24 - 1; 0: they are not asked.
    pub long_lived_restart_time: u32,
    /// Selection_Deferral_Timer: after a restart, how long the neighbours' routes are waited for at most
    /// (RFC 4724, 4.1). Looked at when a speaker starts, as are the next two.
    pub selection_deferral: Duration,
    /// A speaker ran here before, and packets are still forwarded by its routes.
    pub restarted: bool,
    /// After a restart, [`crate::Speaker::own_routes_are_complete`] is waited for too.
    pub awaits_own_routes: bool,
    /// The peers, by unique name.
    pub peers: Vec<PeerConfig>,
    /// Ranges from which unknown peers may connect.
    pub ranges: Vec<ListenRange>,
}

/// Which AS a peer must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteAs {
    /// Exactly this one.
    Exact(Asn),
    /// Any but our own.
    External,
    /// Our own.
    Internal,
}

/// Another AS than our own in which a neighbour takes us to be, while networks are joined or parted
/// (local-as).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalAs {
    /// Its number: what our OPEN says.
    pub asn: Asn,
    /// What the neighbour sends counts as having come through that AS.
    pub prepend: bool,
    /// It is told of that AS only, and not of ours behind it.
    pub replace: bool,
}

/// Which routes get our own address as next hop on iBGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopSelf {
    /// None but those that have no other.
    Never,
    /// Those learned from external neighbours: what is reflected stays as it is.
    External,
    /// All.
    Always,
}

impl NextHopSelf {
    /// Whether a route gets it that is reflected, or not.
    pub(crate) fn is_for(self, reflected: bool) -> bool {
        match self {
            Self::Never => false,
            Self::External => !reflected,
            Self::Always => true,
        }
    }
}

/// What this speaker is to an external neighbour (RFC 9234, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BgpRole {
    /// It gives the neighbour, a customer, all routes.
    Provider = 0,
    /// It passes on what its clients tell each other.
    RouteServer = 1,
    /// The neighbour is a route server.
    RouteServerClient = 2,
    /// The neighbour is a provider.
    Customer = 3,
    /// Each tells the other what is its own and its customers'.
    Peer = 4,
}

impl BgpRole {
    /// What the neighbour has to be (RFC 9234, 4.2).
    pub fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }
}

/// How fast BFD is on a session (RFC 5880, 6.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BfdTimers {
    /// Between two packets, in either direction; the slower end decides.
    pub interval: Duration,
    /// After so many that did not come the way counts as broken (Detect Mult).
    pub multiplier: u8,
}

/// A secret that both ends of a session know (RFC 2385). Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(Arc<str>);

impl Password {
    /// The longest the system takes, in octets.
    pub const LONGEST: usize = 80;

    /// `None`: empty, or longer than the system takes.
    pub fn new(secret: &str) -> Option<Self> {
        (1..=Self::LONGEST)
            .contains(&secret.len())
            .then(|| Self(secret.into()))
    }

    /// The octets of the key.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What may pass in one direction. No policy on an eBGP session lets nothing pass (RFC 8212).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Export only: what this speaker originates.
    Own,
    /// Prefixes equal to or inside one of these.
    Within(Vec<Prefix>),
    /// What these say.
    Rules(Arc<Rules>),
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Unique name, for people.
    pub name: String,
    /// The neighbour's address. `::` beside an interface: whoever is found on its link (unnumbered).
    pub address: IpAddr,
    /// The interface a link-local address belongs to.
    pub interface: Option<String>,
    /// TCP port to connect to.
    pub port: u16,
    /// Local address to connect from.
    pub local_address: Option<IpAddr>,
    /// The AS the neighbour must be in.
    pub remote_as: RemoteAs,
    /// The AS in which it takes us to be, when that is not ours. External sessions only: whoever is in
    /// either AS is refused.
    pub local_as: Option<LocalAs>,
    /// Its own AS in the paths it is told is replaced by ours, so that it does not take them for loops.
    /// External sessions only, as the next.
    pub as_override: bool,
    /// Private AS numbers (RFC 6996) but its own are left out of the paths it is told.
    pub remove_private_as: bool,
    /// Never connect, only accept.
    pub passive: bool,
    /// Switched off by the operator: no connection is made or accepted.
    pub disabled: bool,
    /// Families to negotiate.
    pub families: Vec<Family>,
    /// Hold time proposed, in seconds: 0, or 3 and up (RFC 4271, 4.2).
    pub hold_time: u16,
    /// SendHoldTime (RFC 9687): how long the transport may take nothing of ours before the session
    /// is closed; twice the negotiated hold time at least. 8 minutes are the RFC's default.
    pub send_hold_time: Duration,
    /// ConnectRetryTime: how long an attempt to connect may take, and the wait after one that failed.
    pub connect_retry: Duration,
    /// DelayOpenTime (RFC 4271, 8.1.1): how long the peer is let speak first once there is a
    /// connection; zero: our OPEN goes out at once.
    pub delay_open: Duration,
    /// The neighbour is our reflection client (RFC 4456).
    pub reflector_client: bool,
    /// What we pass on gets our own address as next hop, on iBGP too.
    pub next_hop_self: NextHopSelf,
    /// IPv4 prefixes may have IPv6 next hops on this session, if the neighbour agrees (RFC 8950): the
    /// one address both have may be an IPv6 one. An IPv4 address
    /// of ours is preferred, unless the session is over link-local addresses.
    pub extended_next_hop: bool,
    /// The neighbour may tell several paths to a prefix, if it likes (RFC 7911).
    pub add_path_receive: bool,
    /// It is told so many paths to a prefix at most, the best ones, if it likes; 0 and 1: the best
    /// (RFC 7911).
    pub add_path_send: u8,
    /// Messages up to 65535 octets are taken, and sent where one of 4096 cannot hold a route, if the
    /// neighbour takes them (RFC 8654).
    pub extended_messages: bool,
    /// What we are to an external neighbour. Routes leak nowhere then: see RFC 9234.
    pub bgp_role: Option<BgpRole>,
    /// A neighbour that does not say what it is itself is refused (RFC 9234, 4.2).
    pub bgp_role_strict: bool,
    /// An external neighbour's AS must be the first in the paths it sends (RFC 4271, 6.3): without
    /// it a neighbour shortens paths, or passes on what it has not got. A route server does not put
    /// itself into paths (RFC 7947, 2.2.2.1).
    pub enforce_first_as: bool,
    /// How often our own AS may stand in a path we accept.
    pub allow_own_as: u8,
    /// What is accepted.
    pub import: Policy,
    /// What is advertised.
    pub export: Policy,
    /// The word of its ready-made policy, for rules that ask for it.
    pub role: Option<Arc<str>>,
    /// It may carry service discovery.
    pub discovery: bool,
    /// Most prefixes accepted over all families before the session is closed (Cease, 1).
    pub max_prefixes: Option<u32>,
    /// The same for one family, by [`Family::index`].
    pub max_prefixes_of: [Option<u32>; 2],
    /// At how many per cent of each of these the operator is warned.
    pub max_prefixes_warning: u8,
    /// How long a peer that went past it is kept out; without, as after any fault: from a second up
    /// to two minutes, doubled each time.
    pub max_prefixes_restart: Option<Duration>,
    /// Packets leave with this TTL; 1 by default on eBGP, the system's on iBGP.
    pub ttl: Option<u8>,
    /// GTSM: send with 255, refuse what arrives with less (RFC 5082).
    pub ttl_security: bool,
    /// Every segment is signed with this (TCP-MD5, RFC 2385).
    pub password: Option<Password>,
    /// Routes are held while the neighbour restarts, if it says that it can, and it is asked to hold ours
    /// ([`SpeakerConfig::restart_time`]; RFC 4724, RFC 8538).
    pub graceful_restart: bool,
    /// The session is lost as soon as BFD finds the way to the neighbour broken (RFC 5882, 10.2).
    pub bfd: Option<BfdTimers>,
}

impl PeerConfig {
    /// A peer with the defaults of the field: hold time 90 s, retry after 5 s, both families,
    /// everything in and out.
    pub fn new(name: impl Into<String>, address: IpAddr, remote_as: RemoteAs) -> Self {
        Self {
            name: name.into(),
            address,
            interface: None,
            port: 179,
            local_address: None,
            remote_as,
            local_as: None,
            as_override: false,
            remove_private_as: false,
            passive: false,
            disabled: false,
            families: Family::ALL.to_vec(),
            hold_time: 90,
            send_hold_time: Duration::from_secs(480),
            connect_retry: Duration::from_secs(5),
            delay_open: Duration::ZERO,
            reflector_client: false,
            next_hop_self: NextHopSelf::Never,
            extended_next_hop: address.is_ipv6(),
            add_path_receive: false,
            add_path_send: 0,
            extended_messages: true,
            bgp_role: None,
            bgp_role_strict: false,
            enforce_first_as: true,
            allow_own_as: 0,
            import: Policy::All,
            export: Policy::All,
            role: None,
            discovery: false,
            max_prefixes: None,
            max_prefixes_of: [None; 2],
            max_prefixes_warning: 75,
            max_prefixes_restart: None,
            ttl: None,
            ttl_security: false,
            password: None,
            graceful_restart: true,
            bfd: None,
        }
    }

    /// The AS in which the neighbour takes a speaker of AS `own` to be.
    pub fn shown_as(&self, own: Asn) -> Asn {
        self.local_as.map_or(own, |local| local.asn)
    }

    /// The AS of our own in the paths it is told: the last of ours, where it is told of two.
    pub(crate) fn path_as(&self, own: Asn) -> Asn {
        let hides = self.local_as.filter(|local| local.replace);
        hides.map_or(own, |local| local.asn)
    }

    /// Whether the neighbour is to be in another AS than a speaker of AS `own`.
    pub(crate) fn is_external(&self, own: Asn) -> bool {
        match self.remote_as {
            RemoteAs::Exact(asn) => asn != own,
            RemoteAs::External => true,
            RemoteAs::Internal => false,
        }
    }

    /// Whether prefixes are counted against some bound.
    pub(crate) fn bounds_prefixes(&self) -> bool {
        self.max_prefixes.is_some() || self.max_prefixes_of.iter().any(Option::is_some)
    }

    /// Whether the neighbour's address is found on the link of its interface.
    pub fn is_unnumbered(&self) -> bool {
        self.address.is_unspecified() && self.interface.is_some()
    }
}

/// A range from which peers may connect without being named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRange {
    /// The addresses accepted.
    pub prefix: Prefix,
    /// At most this many sessions at a time.
    pub limit: u32,
    /// What such a peer is; `address` and `name` are filled in on arrival, `passive` is implied.
    pub template: PeerConfig,
}

impl SpeakerConfig {
    /// A speaker without peers.
    pub fn new(router_id: RouterId, asn: Asn) -> Self {
        Self {
            router_id,
            asn,
            cluster_id: None,
            discovery: None,
            own_marks: Vec::new(),
            listen: Vec::new(),
            multipath: 1,
            restart_time: 0,
            long_lived_restart_time: 0,
            selection_deferral: Duration::from_secs(30),
            restarted: false,
            awaits_own_routes: false,
            peers: Vec::new(),
            ranges: Vec::new(),
        }
    }
}
