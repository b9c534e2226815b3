//! The validated configuration: complete, consistent, every value with its origin.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde::{Serialize, Serializer};
use wayleave_bgp_core::{Asn, Family, Prefix, RouterId, config::Password};

use super::{
    policy::Policies,
    setting::{Entry, settings},
};

/// Everything the agent is told to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The files it was read from, in order; empty when the agent runs without any.
    pub files: Vec<PathBuf>,
    /// Who this host is.
    pub node: Node,
    /// Where things lie.
    pub paths: Paths,
    /// The socket of the command line.
    pub api: Api,
    /// The speaker as a whole.
    pub bgp: Bgp,
    /// Neighbours, by name.
    pub peers: Vec<Peer>,
    /// Ranges from which neighbours may connect, by prefix.
    pub ranges: Vec<Range>,
    /// The names of the groups that peers and ranges may belong to.
    pub groups: Vec<super::Setting<String>>,
    /// Address space of the fabric, by name.
    pub pools: Vec<Pool>,
    /// Blocks this host owns by configuration, by prefix.
    pub blocks: Vec<Block>,
    /// Routes into the kernel.
    pub fib: Fib,
    /// The name server.
    pub dns: Dns,
    /// Service discovery.
    pub discovery: Discovery,
    /// The log.
    pub log: Log,
    /// Lists of prefixes and lists of rules.
    pub policies: Policies,
}

settings! {
    /// `[node]`: who this host is.
    pub struct Node {
        /// The name of the host: one DNS label, lower case.
        name: String => NeedsRestart,
        /// The BGP identifier.
        router_id: RouterId => ResetsAllSessions,
        /// Addresses under which the host itself is known; at most one per family. What the node
        /// says about itself is announced once, at start.
        address: Vec<IpAddr> => NeedsRestart,
    }
}

settings! {
    /// `[paths]`: where things lie. All absolute.
    pub struct Paths {
        /// What must survive a reboot.
        state: PathBuf => NeedsRestart,
        /// The sockets.
        run: PathBuf => NeedsRestart,
        /// Descriptions of services on this host.
        services: PathBuf => NeedsRestart,
    }
}

impl Paths {
    /// The socket of the API and the command line.
    pub fn api_socket(&self) -> PathBuf {
        self.run.value.join("wayleave.sock")
    }

    /// The socket of the CNI plugin.
    pub fn cni_socket(&self) -> PathBuf {
        self.run.value.join("cni.sock")
    }
}

settings! {
    /// `[api]`: the socket of the command line.
    pub struct Api {
        /// The group that may use it beside root.
        group: Option<String> => NeedsRestart,
    }
}

settings! {
    /// `[bgp]`: the speaker as a whole.
    pub struct Bgp {
        /// Our AS.
        asn: Asn => ResetsAllSessions,
        /// CLUSTER_ID for reflection (RFC 4456); the router id when unset.
        cluster_id: Option<RouterId> => ResetsAllSessions,
        /// Where neighbours can connect to.
        listen: Vec<SocketAddr> => Live,
        /// Hold time of peers that set none, in seconds.
        hold_time: u16 => Live,
        /// How long the transport to peers that set none may take nothing, in seconds (RFC 9687).
        send_hold_time: u16 => Live,
        /// Pause before a connection is tried again, of peers that set none, in seconds.
        connect_retry: u16 => Live,
        /// How long neighbours are asked to hold our routes while the agent restarts, in seconds; 0:
        /// they are not (RFC 4724).
        restart_time: u16 => Live,
        /// How long they are asked to hold them as the last choice after that, in seconds; 0: they are
        /// not (RFC 9494).
        long_lived_restart_time: u32 => Live,
        /// How long a start after a restart waits for their routes at most, in seconds.
        selection_deferral: u16 => NeedsRestart,
        /// Most equal paths used for one prefix; 1: the best only.
        multipath: u8 => Live,
        /// Prefixes this speaker originates itself.
        originate: Vec<Prefix> => Live,
    }
}

/// `[[peer]]`: one neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its unique name.
    pub name: super::Setting<String>,
    /// How it is reached.
    pub transport: Transport,
    /// What it is to us.
    pub options: PeerOptions,
}

settings! {
    /// How a named neighbour is reached.
    pub struct Transport {
        /// Its address; unset: whoever is found on the link of `interface` (unnumbered).
        address: Option<IpAddr> => ResetsSession,
        /// The TCP port to connect to.
        port: u16 => ResetsSession,
        /// The interface a link-local address belongs to, or on which the neighbour is found.
        interface: Option<String> => ResetsSession,
        /// The address to connect from.
        local_address: Option<IpAddr> => ResetsSession,
        /// Wait for it to connect.
        passive: bool => ResetsSession,
        /// Switched off.
        disabled: bool => ResetsSession,
    }
}

settings! {
    /// What a neighbour, or everyone in a range, is to us. Live is what the speaker applies to an
    /// open session of a named peer: policy, and what only its next attempt needs.
    pub struct PeerOptions {
        /// The group whose values it has where it sets none itself.
        group: Option<String> => Live,
        /// The AS it must be in.
        asn: RemoteAsSetting => ResetsSession,
        /// The AS it takes us to be in, when that is not ours (RFC 7705).
        local_as: Option<Asn> => ResetsSession,
        /// What it sends counts as having come through that AS.
        local_as_prepend: bool => Live,
        /// It is told of that AS only, and not of ours.
        local_as_replace: bool => Live,
        /// Its own AS in the paths it is told is replaced by ours.
        as_override: bool => Live,
        /// Private AS numbers are left out of the paths it is told.
        remove_private_as: bool => Live,
        /// A ready-made policy that `import`, `export` and `allow_own_as` start from.
        role: Option<Role> => Live,
        /// What is accepted from it.
        import: PolicySetting => Live,
        /// What it is told.
        export: PolicySetting => Live,
        /// Families to negotiate.
        families: Vec<Family> => ResetsSession,
        /// Hold time proposed, in seconds.
        hold_time: u16 => ResetsSession,
        /// How long the transport may take nothing before the session is closed, in seconds
        /// (RFC 9687); twice the hold time at least.
        send_hold_time: u16 => Live,
        /// Pause before a connection is tried again, in seconds.
        connect_retry: u16 => Live,
        /// How long it is let speak first on a new connection, in seconds (DelayOpenTime).
        delay_open: u16 => Live,
        /// A reflection client of ours (RFC 4456).
        reflector_client: bool => Live,
        /// Put our own address as next hop on what is passed on.
        next_hop_self: NextHopSelfSetting => Live,
        /// IPv4 prefixes may have IPv6 next hops (RFC 8950), if the neighbour agrees.
        extended_next_hop: bool => ResetsSession,
        /// Messages may have 65535 octets (RFC 8654), if the neighbour agrees.
        extended_messages: bool => ResetsSession,
        /// What we are to the neighbour (RFC 9234).
        bgp_role: Option<BgpRoleSetting> => ResetsSession,
        /// It has to say what it is to us.
        bgp_role_strict: bool => ResetsSession,
        /// It may tell several paths to a prefix (RFC 7911).
        add_path_receive: bool => ResetsSession,
        /// It is told so many paths to a prefix at most, if it likes; 0: the best (RFC 7911).
        add_path_send: u8 => ResetsSession,
        /// The paths of an external neighbour must begin with its AS (RFC 4271, 6.3).
        enforce_first_as: bool => Live,
        /// How often our own AS may stand in a path.
        allow_own_as: u8 => Live,
        /// Most prefixes accepted before the session is closed.
        max_prefixes: Option<u32> => Live,
        /// Most IPv4 prefixes among these.
        max_prefixes_ipv4: Option<u32> => Live,
        /// Most IPv6 prefixes among these.
        max_prefixes_ipv6: Option<u32> => Live,
        /// At how many per cent of these a warning is given.
        max_prefixes_warning: u8 => Live,
        /// How long one that went past is kept out, in seconds.
        max_prefixes_restart: Option<u32> => Live,
        /// TTL of our packets.
        ttl: Option<u8> => ResetsSession,
        /// GTSM (RFC 5082).
        ttl_security: bool => ResetsSession,
        /// TCP-MD5 (RFC 2385).
        password: Option<Secret> => ResetsSession,
        /// Its routes are held while it restarts (RFC 4724), if it says that it can.
        graceful_restart: bool => ResetsSession,
        /// BFD watches the way to it while the session is up (RFC 5882).
        bfd: bool => Live,
        /// Between two packets of BFD, in milliseconds.
        bfd_interval: u16 => Live,
        /// After so many that did not come the session is lost.
        bfd_multiplier: u8 => Live,
        /// It may carry service discovery.
        discovery: bool => Live,
    }
}

impl Transport {
    /// The interface on whose link the neighbour is found, when no address is given.
    pub fn unnumbered(&self) -> Option<&str> {
        match self.address.value {
            None => self.interface.value.as_deref(),
            Some(_) => None,
        }
    }
}

impl Peer {
    /// Where it says who the neighbour is.
    pub fn origin(&self) -> &super::Origin {
        match self.transport.unnumbered() {
            Some(_) => &self.transport.interface.origin,
            None => &self.transport.address.origin,
        }
    }

    /// Every value but the name.
    pub fn entries(&self) -> Vec<Entry> {
        [self.transport.entries(), self.options.entries()].concat()
    }
}

/// `[[range]]`: where unnamed neighbours may connect from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The addresses accepted.
    pub prefix: super::Setting<Prefix>,
    /// At most this many sessions at a time.
    pub limit: super::Setting<u32>,
    /// What such a neighbour is to us.
    pub options: PeerOptions,
}

impl Range {
    /// Every value but the prefix.
    pub fn entries(&self) -> Vec<Entry> {
        let limit = Entry {
            key: "limit",
            value: self.limit.value.into(),
            origin: self.limit.origin.clone(),
            effect: super::Effect::Live,
        };
        std::iter::once(limit)
            .chain(self.options.entries())
            .collect()
    }
}

settings! {
    /// `[[pool]]`: address space of the fabric.
    pub struct Pool {
        /// Its unique name.
        name: String => NeedsRestart,
        /// At most one prefix per family.
        cidr: Vec<Prefix> => NeedsRestart,
        /// Length of the blocks the IPv4 prefix is cut into.
        block: u8 => NeedsRestart,
        /// Length of the blocks the IPv6 prefix is cut into.
        block_ipv6: u8 => NeedsRestart,
        /// Parts nobody gets an address from.
        exclude: Vec<Prefix> => NeedsRestart,
    }
}

settings! {
    /// `[[block]]`: a block this host owns by configuration.
    pub struct Block {
        /// The block.
        prefix: Prefix => NeedsRestart,
        /// The pool it is a part of.
        pool: String => NeedsRestart,
    }
}

settings! {
    /// `[fib]`: routes into the kernel.
    pub struct Fib {
        /// Whether learned routes go into the kernel at all.
        install: bool => NeedsRestart,
        /// The kernel's routing table.
        table: u32 => NeedsRestart,
        /// The metric of our routes.
        metric: u32 => NeedsRestart,
        /// The protocol number our routes carry.
        protocol: u8 => NeedsRestart,
        /// Whether learned routes go through nexthop objects.
        nexthop_objects: bool => NeedsRestart,
    }
}

settings! {
    /// `[dns]`: the name server.
    pub struct Dns {
        /// Where it listens; nowhere: it is off.
        listen: Vec<SocketAddr> => NeedsRestart,
        /// The zone it answers for.
        zone: String => NeedsRestart,
        /// Who is asked for all other names; nobody: they are refused.
        upstream: Vec<SocketAddr> => NeedsRestart,
        /// Who may ask beside the pools and this host's own addresses.
        clients: Vec<Prefix> => NeedsRestart,
    }
}

settings! {
    /// `[discovery]`: services in large communities.
    pub struct Discovery {
        /// Global administrator of the communities: one number for the whole fabric. Unset: no
        /// service is published or believed.
        number: Option<u32> => NeedsRestart,
        /// The region this host is in.
        region: u16 => NeedsRestart,
        /// The zone this host is in, within its region.
        zone: u16 => NeedsRestart,
        /// Most addresses of services this host announces: each is a prefix that neighbours count.
        prefix_budget: u32 => NeedsRestart,
    }
}

settings! {
    /// `[log]`: what is logged, to standard error.
    pub struct Log {
        /// A level, or levels by target: `info,wayleave_bgp=debug`.
        level: String => Live,
        /// For people or for machines.
        format: LogFormat => NeedsRestart,
    }
}

/// A password. What is shown of it tells only whether it is another than before.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Password);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Of this process alone: nobody can try passwords against it elsewhere.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mark = KEY.hash_one(&self.0) & 0xff_ffff;
        serializer.collect_str(&format_args!("(set, #{mark:06x})"))
    }
}

/// Which AS a neighbour must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteAsSetting {
    /// This one.
    Exact(Asn),
    /// Any but our own.
    External,
    /// Our own.
    Internal,
}

impl RemoteAsSetting {
    /// Whether the session is eBGP for a speaker in `ours`.
    pub fn is_external(self, ours: Asn) -> bool {
        match self {
            Self::Exact(asn) => asn != ours,
            Self::External => true,
            Self::Internal => false,
        }
    }
}

impl Serialize for RemoteAsSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exact(asn) => asn.serialize(serializer),
            Self::External => serializer.serialize_str("external"),
            Self::Internal => serializer.serialize_str("internal"),
        }
    }
}

/// What this host is to an external neighbour (RFC 9234, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BgpRoleSetting {
    /// The neighbour is our customer.
    Provider,
    /// The neighbour is a client of ours, a route server.
    RouteServer,
    /// The neighbour is a route server.
    RouteServerClient,
    /// The neighbour is our provider.
    Customer,
    /// Each tells the other what is its own and its customers'.
    Peer,
}

/// What gets our own address as next hop, on internal sessions too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopSelfSetting {
    /// `false`: nothing but what has no other.
    Never,
    /// `"external"`: what was learned from external neighbours, and not what is reflected.
    External,
    /// `true`: everything.
    Always,
}

impl Serialize for NextHopSelfSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_bool(false),
            Self::External => serializer.serialize_str("external"),
            Self::Always => serializer.serialize_bool(true),
        }
    }
}

/// What may pass in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PolicySetting {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// Export only: what this host originates.
    Own,
    /// What lies in the pools.
    Pools,
    /// What is equal to or lies in one of these.
    Within(Vec<Prefix>),
    /// What the policy of this name says.
    Named(String),
}

impl Serialize for PolicySetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::None => serializer.serialize_str("none"),
            Self::Own => serializer.serialize_str("own"),
            Self::Pools => serializer.serialize_str("pools"),
            Self::Within(prefixes) => prefixes.serialize(serializer),
            Self::Named(name) => serializer.collect_str(&format_args!("policy:{name}")),
        }
    }
}

/// A ready-made policy (RFC 8212).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// This host is a container host and the neighbour its way to the fabric: accept what lies in
    /// the pools, tell only what is our own, allow our AS once in a path.
    Host,
}

impl Role {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
        }
    }
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Every table with its entries: the name of the table, what tells several of one kind apart,
    /// and the values. The order is fixed.
    pub fn tables(&self) -> Vec<(&'static str, Option<String>, Vec<Entry>)> {
        let mut tables = vec![
            ("node", None, self.node.entries()),
            ("paths", None, self.paths.entries()),
            ("api", None, self.api.entries()),
            ("bgp", None, self.bgp.entries()),
        ];
        let peers = self.peers.iter();
        tables.extend(peers.map(|peer| ("peer", Some(peer.name.value.clone()), peer.entries())));
        let ranges = self.ranges.iter();
        tables.extend(ranges.map(|range| {
            (
                "range",
                Some(range.prefix.value.to_string()),
                range.entries(),
            )
        }));
        let pools = self.pools.iter();
        tables.extend(pools.map(|pool| ("pool", Some(pool.name.value.clone()), pool.entries())));
        let blocks = self.blocks.iter();
        tables.extend(blocks.map(|block| {
            (
                "block",
                Some(block.prefix.value.to_string()),
                block.entries(),
            )
        }));
        tables.extend([
            ("fib", None, self.fib.entries()),
            ("dns", None, self.dns.entries()),
            ("discovery", None, self.discovery.entries()),
            ("log", None, self.log.entries()),
        ]);
        tables.extend(self.policies.tables());
        tables
    }

    /// Whether the pools contain `prefix`.
    pub fn in_pools(&self, prefix: Prefix) -> bool {
        self.pools
            .iter()
            .flat_map(|pool| &pool.cidr.value)
            .any(|cidr| cidr.contains(prefix))
    }

    /// The directory conf.d and services.d are looked for in, when a file was read.
    pub fn directory(&self) -> Option<&Path> {
        self.files.first().and_then(|file| file.parent())
    }
}
