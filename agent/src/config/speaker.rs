//! What the speaker is told, out of the agent's configuration.

use std::{collections::BTreeSet, net::Ipv6Addr, sync::Arc, time::Duration};

use wayleave_bgp_core::{
    Family, LargeCommunity, Prefix,
    config::{
        BfdTimers, BgpRole, ListenRange, LocalAs, NextHopSelf, PeerConfig, Policy, RemoteAs,
        SpeakerConfig,
    },
    feed::Origination,
};

use wayleave_discovery::{
    codec::{NodeKey, carrier_address},
    community::DiscoveryNumber,
};

use super::model::{
    BgpRoleSetting, Config, NextHopSelfSetting, PeerOptions, PolicySetting, RemoteAsSetting,
};
use super::policy::Policies;

/// The speaker's configuration, on the node with this key.
pub fn speaker_config(config: &Config, key: NodeKey) -> SpeakerConfig {
    let pools: Vec<Prefix> = config
        .pools
        .iter()
        .flat_map(|pool| &pool.cidr.value)
        .copied()
        .collect();
    // Where pools are let in, so is what nodes say about themselves: it lies outside of them.
    let pools = [pools, carriers(config).into_iter().collect()].concat();
    let bgp = &config.bgp;
    let peers = config.peers.iter().map(|peer| {
        let transport = &peer.transport;
        let base = PeerConfig::new(
            peer.name.value.clone(),
            // Unspecified beside an interface: whoever is found on its link.
            transport
                .address
                .value
                .unwrap_or(Ipv6Addr::UNSPECIFIED.into()),
            remote_as(peer.options.asn.value),
        );
        PeerConfig {
            interface: transport.interface.value.clone(),
            port: transport.port.value,
            local_address: transport.local_address.value,
            passive: transport.passive.value,
            disabled: transport.disabled.value,
            ..with_options(base, &peer.options, &pools, &config.policies)
        }
    });
    let ranges = config.ranges.iter().map(|range| {
        let prefix = range.prefix.value;
        let base = PeerConfig::new(
            prefix.to_string(),
            prefix.addr(),
            remote_as(range.options.asn.value),
        );
        ListenRange {
            prefix,
            limit: range.limit.value,
            template: PeerConfig {
                passive: true,
                ..with_options(base, &range.options, &pools, &config.policies)
            },
        }
    });
    SpeakerConfig {
        cluster_id: bgp.cluster_id.value,
        discovery: config.discovery.number.value,
        own_marks: marks(config, key),
        listen: bgp.listen.value.clone(),
        multipath: bgp.multipath.value,
        restart_time: bgp.restart_time.value,
        long_lived_restart_time: bgp.long_lived_restart_time.value,
        selection_deferral: Duration::from_secs(bgp.selection_deferral.value.into()),
        peers: peers.collect(),
        ranges: ranges.collect(),
        ..SpeakerConfig::new(config.node.router_id.value, bgp.asn.value)
    }
}

/// The interfaces on whose links neighbours are to be found.
pub fn unnumbered(config: &Config) -> BTreeSet<String> {
    let transports = config.peers.iter().map(|peer| &peer.transport);
    let enabled = transports.filter(|transport| !transport.disabled.value);
    enabled
        .filter_map(|transport| transport.unnumbered())
        .map(str::to_owned)
        .collect()
}

/// The number of service discovery, when it is on. Checked with the rest of the configuration.
pub fn discovery_number(config: &Config) -> Option<DiscoveryNumber> {
    DiscoveryNumber::new(config.discovery.number.value?).ok()
}

/// What every route of the node with this key carries, where discovery is on.
fn marks(config: &Config, key: NodeKey) -> Vec<LargeCommunity> {
    let Some(number) = discovery_number(config) else {
        return Vec::new();
    };
    let marks = key.communities(number).map(|codec| LargeCommunity {
        global: codec.global,
        local1: codec.local1,
        local2: codec.local2,
    });
    marks.to_vec()
}

/// The fabric's name: that of its zone.
pub fn fabric(config: &Config) -> &str {
    &config.dns.zone.value
}

/// Where the carriers of all nodes of the fabric lie, when service discovery is on: host routes
/// that say something and lead nowhere.
pub fn carriers(config: &Config) -> Option<Prefix> {
    carriers_of(config.discovery.number.value, fabric(config))
}

/// The same of a fabric with this number and name.
pub(super) fn carriers_of(number: Option<u32>, fabric: &str) -> Option<Prefix> {
    DiscoveryNumber::new(number?).ok()?;
    let any = carrier_address(fabric, NodeKey(0));
    Some(Prefix::new(any.into(), 64))
}

/// What `[bgp] originate` asks for.
pub fn originations(config: &Config) -> Vec<Origination> {
    config
        .bgp
        .originate
        .value
        .iter()
        .copied()
        .map(Origination::new)
        .collect()
}

fn with_options(
    base: PeerConfig,
    options: &PeerOptions,
    pools: &[Prefix],
    policies: &Policies,
) -> PeerConfig {
    PeerConfig {
        families: options.families.value.clone(),
        hold_time: options.hold_time.value,
        send_hold_time: Duration::from_secs(options.send_hold_time.value.into()),
        connect_retry: Duration::from_secs(options.connect_retry.value.into()),
        delay_open: Duration::from_secs(options.delay_open.value.into()),
        reflector_client: options.reflector_client.value,
        local_as: options.local_as.value.map(|asn| LocalAs {
            asn,
            prepend: options.local_as_prepend.value,
            replace: options.local_as_replace.value,
        }),
        as_override: options.as_override.value,
        remove_private_as: options.remove_private_as.value,
        next_hop_self: match options.next_hop_self.value {
            NextHopSelfSetting::Never => NextHopSelf::Never,
            NextHopSelfSetting::External => NextHopSelf::External,
            NextHopSelfSetting::Always => NextHopSelf::Always,
        },
        add_path_receive: options.add_path_receive.value,
        add_path_send: options.add_path_send.value,
        extended_next_hop: options.extended_next_hop.value,
        extended_messages: options.extended_messages.value,
        bgp_role: options.bgp_role.value.map(|role| match role {
            BgpRoleSetting::Provider => BgpRole::Provider,
            BgpRoleSetting::RouteServer => BgpRole::RouteServer,
            BgpRoleSetting::RouteServerClient => BgpRole::RouteServerClient,
            BgpRoleSetting::Customer => BgpRole::Customer,
            BgpRoleSetting::Peer => BgpRole::Peer,
        }),
        bgp_role_strict: options.bgp_role_strict.value,
        enforce_first_as: options.enforce_first_as.value,
        allow_own_as: options.allow_own_as.value,
        import: policy(&options.import.value, pools, policies),
        export: policy(&options.export.value, pools, policies),
        role: options.role.value.map(|role| role.word().into()),
        discovery: options.discovery.value,
        max_prefixes: options.max_prefixes.value,
        max_prefixes_of: Family::ALL.map(|family| match family {
            Family::Ipv4Unicast => options.max_prefixes_ipv4.value,
            Family::Ipv6Unicast => options.max_prefixes_ipv6.value,
        }),
        max_prefixes_warning: options.max_prefixes_warning.value,
        max_prefixes_restart: options
            .max_prefixes_restart
            .value
            .map(|seconds| Duration::from_secs(seconds.into())),
        ttl: options.ttl.value,
        ttl_security: options.ttl_security.value,
        graceful_restart: options.graceful_restart.value,
        bfd: options.bfd.value.then(|| BfdTimers {
            interval: Duration::from_millis(options.bfd_interval.value.into()),
            multiplier: options.bfd_multiplier.value,
        }),
        password: options
            .password
            .value
            .as_ref()
            .map(|secret| secret.0.clone()),
        ..base
    }
}

fn remote_as(setting: RemoteAsSetting) -> RemoteAs {
    match setting {
        RemoteAsSetting::Exact(asn) => RemoteAs::Exact(asn),
        RemoteAsSetting::External => RemoteAs::External,
        RemoteAsSetting::Internal => RemoteAs::Internal,
    }
}

fn policy(setting: &PolicySetting, pools: &[Prefix], policies: &Policies) -> Policy {
    match setting {
        PolicySetting::All => Policy::All,
        PolicySetting::None => Policy::None,
        PolicySetting::Own => Policy::Own,
        PolicySetting::Pools if pools.is_empty() => Policy::None,
        PolicySetting::Pools => Policy::Within(pools.to_vec()),
        PolicySetting::Within(prefixes) if prefixes.is_empty() => Policy::None,
        PolicySetting::Within(prefixes) => Policy::Within(prefixes.clone()),
        // The check has refused names of nothing; nothing passes by mistake.
        PolicySetting::Named(name) => match policies.named(name) {
            Some(rules) => Policy::Rules(Arc::clone(rules)),
            None => Policy::None,
        },
    }
}
