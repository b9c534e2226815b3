//! Service discovery: what this host registers, what the fabric announces, and the name server.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, RwLock},
};

use ipnetwork::IpNetwork;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use wayleave_bgp::SpeakerHandle;
use wayleave_bgp_core::Prefix;
use wayleave_discovery::{
    answers::{Network, Zone},
    catalog::Catalog,
    codec::{self, Carrier, Codec, NodeKey, carrier_address},
    names::HostName,
    registry::{Change, Instance, NodeSettings, Places},
};

use super::{Dependencies, OwnerError};
use crate::{
    catalog::Feed,
    config::{self, Config},
    dns,
    event::{Owner, Progress, rank},
    problem::{Problem, Problems, Severity},
    registry::{self, Addresses, RegistryHandle, Reread, Setup, originate},
    store::{Restored, StoreHandle, decode},
};

/// Parts of the feed on their way.
const FEED: usize = 16;
/// Changes of our own services on their way to the speaker: all that a start has to tell.
const CHANGES: usize = 4096;
/// Health checks under way at once.
const CHECKS: usize = 64;

/// The discovery side of the agent.
pub(super) struct Names {
    registry: RegistryHandle,
    /// For the owner of containers.
    addresses: Option<Addresses>,
    catalog: Arc<RwLock<Catalog>>,
    index: watch::Receiver<u64>,
    zone: Zone,
    registering: JoinHandle<()>,
    serving: Option<JoinHandle<()>>,
    /// Of the name server.
    pub(super) counters: Option<crate::api::DnsCounters>,
}

impl Names {
    /// What the API needs.
    pub(super) fn context(&self) -> crate::api::NamesContext {
        crate::api::NamesContext {
            registry: self.registry.clone(),
            catalog: Arc::clone(&self.catalog),
            index: self.index.clone(),
            zone: self.zone.clone(),
        }
    }

    /// The way of news about containers' addresses, once: when its holder drops it, there are no containers.
    pub(super) fn addresses(&mut self) -> Option<Addresses> {
        self.addresses.take()
    }

    /// Takes what a configuration says of addresses, and reads the files of services again.
    pub(super) async fn reload(&self, config: &Config) -> Reread {
        // It has stopped: so will everything else.
        self.registry
            .reload(places(config))
            .await
            .unwrap_or_default()
    }

    /// Waits for what is to be stored at the end.
    pub(super) async fn stop(self) {
        let _ = self.registering.await;
        if let Some(serving) = self.serving {
            let _ = serving.await;
        }
    }
}

/// Starts discovery where it has a number.
pub(super) async fn start(
    config: &Config,
    dependencies: &Dependencies,
    (store, restored): &(StoreHandle, Restored),
    stopped: &watch::Receiver<bool>,
) -> Result<Option<Names>, OwnerError> {
    let Some(number) = config::discovery_number(config) else {
        return Ok(None);
    };
    let Dependencies {
        progress,
        problems,
        speaker,
        ..
    } = dependencies;
    let codec = Codec::new(number);
    let key = NodeKey(restored.node_key);
    let catalog = Arc::new(RwLock::new(Catalog::growing()));

    let (feed, index) = Feed::new(codec.clone(), Arc::clone(&catalog));
    let events = speaker.subscribe(FEED);
    tokio::spawn(feed.run(events));

    let carrier = carrier(config, key)?;
    let address = carrier_address(config::fabric(config), key).into();
    let announced = originate::carrier(&codec, &carrier, address)
        .map_err(|error| OwnerError::Discovery(error.to_string()))?;
    speaker.originate(vec![announced]);

    progress.expect(Owner::Registry, "the services of this host to be read");
    let (registry, requests) = registry::channel();
    let (addresses, news) = registry::addresses();
    let (changes, changed) = mpsc::channel(CHANGES);
    let setup = Setup {
        codec: codec.clone(),
        node: NodeSettings {
            zone: zone_of(config),
            max_addresses: usize::try_from(config.discovery.prefix_budget.value)
                .unwrap_or(usize::MAX),
            ..NodeSettings::new(key)
        },
        places: places(config),
        directory: Some(config.paths.services.value.clone()),
        stored: stored(restored)?,
        store: store.clone(),
        checks: CHECKS,
        seed: restored.node_key,
        problems: problems.clone(),
    };
    let (read, all_read) = oneshot::channel();
    // Whoever waits for it is gone when the agent is about to end.
    let in_sync = move || {
        let _ = read.send(());
    };
    let registering = tokio::spawn(registry::run(
        setup,
        requests,
        news,
        changes,
        stopped.clone(),
        in_sync,
    ));
    let complete = (all_read, progress.clone());
    tokio::spawn(publish(
        codec,
        changed,
        speaker.clone(),
        problems.clone(),
        complete,
    ));

    let zone = zone(config)?;
    let (counters, serving) = serve(config, zone.clone(), &catalog, stopped)
        .await?
        .unzip();
    Ok(Some(Names {
        registry,
        addresses: Some(addresses),
        catalog,
        index,
        zone,
        registering,
        serving,
        counters,
    }))
}

/// What this node says about itself.
fn carrier(config: &Config, key: NodeKey) -> Result<Carrier, OwnerError> {
    let host = HostName::new(&config.node.name.value)
        .map_err(|error| OwnerError::Discovery(format!("node.name: {error}")))?;
    let node = codec::Record {
        host: Some(host),
        addresses: config.node.address.value.iter().copied().collect(),
        ..codec::Record::default()
    };
    Ok(Carrier {
        key,
        nonce: nonce(),
        pools: Default::default(),
        manifest: None,
        node,
    })
}

/// 32 bits that another machine with the same key does not have; never on disk.
fn nonce() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    // The seed of a RandomState comes from the kernel's random numbers.
    (RandomState::new().hash_one(std::process::id()) >> 32) as u32
}

fn zone_of(config: &Config) -> Option<codec::Zone> {
    let (region, zone) = (config.discovery.region.value, config.discovery.zone.value);
    ((region, zone) != (0, 0)).then_some(codec::Zone { region, zone })
}

/// Registrations of the last run.
fn stored(restored: &Restored) -> Result<Vec<Instance>, OwnerError> {
    let stored = decode::<Instance>(&restored.services)
        .map_err(|error| OwnerError::Discovery(format!("a stored service: {error}")))?;
    Ok(stored.into_values().collect())
}

/// Where services of this host can be: in its blocks, at no address that is known to be somebody else's.
fn places(config: &Config) -> Places {
    let mut reserved = BTreeMap::new();
    let mut reserve = |address: IpAddr, owner: String| {
        if !address.is_unspecified() {
            reserved.entry(address).or_insert(owner);
        }
    };
    for address in &config.node.address.value {
        reserve(
            *address,
            "this host's own address (node.address)".to_owned(),
        );
    }
    for peer in &config.peers {
        let name = &peer.name.value;
        let transport = &peer.transport;
        if let Some(address) = transport.address.value {
            reserve(address, format!("the address of neighbour {name}"));
        }
        if let Some(address) = transport.local_address.value {
            let owner = format!("this host's own address (local_address of neighbour {name})");
            reserve(address, owner);
        }
    }
    for (key, listen) in [("bgp", &config.bgp.listen), ("dns", &config.dns.listen)] {
        for address in &listen.value {
            let owner = format!("this host's own address ({key}.listen)");
            reserve(address.ip(), owner);
        }
    }
    let blocks = config.blocks.iter().map(|block| block.prefix.value);
    Places {
        blocks: blocks.filter_map(network).collect(),
        reserved,
    }
}

fn network(prefix: Prefix) -> Option<Network> {
    Network::new(prefix.addr(), prefix.len())
}

/// Tells the speaker what the registry wants announced. Once everything has been read, and told, the
/// services are in sync: after a restart neighbours let go of what they have not been told by then.
async fn publish(
    codec: Codec,
    mut changes: mpsc::Receiver<Change>,
    speaker: SpeakerHandle,
    problems: Problems,
    (all_read, progress): (oneshot::Receiver<()>, Progress),
) {
    let mut all_read = Some(all_read);
    loop {
        let read = async {
            match &mut all_read {
                Some(read) => read.await,
                None => std::future::pending().await,
            }
        };
        let change = tokio::select! {
            biased;
            change = changes.recv() => match change {
                Some(change) => change,
                None => return,
            },
            read = read => {
                all_read = None;
                if read.is_ok() {
                    progress.in_sync(Owner::Registry);
                }
                continue;
            }
        };
        match announcement(&codec, &change, &problems) {
            originate::Announcement::Originate(route) => speaker.originate(vec![route]),
            originate::Announcement::Withdraw(prefix) => {
                speaker.withdraw(rank::DISCOVERY, vec![prefix])
            }
        }
    }
}

/// What to do about a change. What cannot be announced is withdrawn, and a problem while it is wanted.
fn announcement(codec: &Codec, change: &Change, problems: &Problems) -> originate::Announcement {
    let key = format!("registry.unannounced.{}", change.address);
    match originate::endpoint(codec, change) {
        Ok(announcement) => {
            problems.clear(&key);
            announcement
        }
        Err(error) => {
            problems.raise(Problem {
                key,
                severity: Severity::Error,
                what: format!("the services at {} are not announced", change.address),
                why: error.to_string(),
                fix: "deregister some of them, or give them shorter names and fewer tags; please report this, for it \
                      should have been refused when they were registered"
                    .to_owned(),
            });
            originate::Announcement::Withdraw(Prefix::host(change.address))
        }
    }
}

fn zone(config: &Config) -> Result<Zone, OwnerError> {
    let mut zone = Zone::new(&config.dns.zone.value)
        .map_err(|error| OwnerError::Discovery(format!("dns.zone: {error}")))?;
    zone.servers = config
        .dns
        .listen
        .value
        .iter()
        .map(|address| address.ip())
        .collect();
    zone.networks = pools(config).filter_map(network).collect();
    Ok(zone)
}

fn pools(config: &Config) -> impl Iterator<Item = Prefix> {
    config
        .pools
        .iter()
        .flat_map(|pool| &pool.cidr.value)
        .copied()
}

/// Who may ask for names: containers, this host, and who is named.
fn clients(config: &Config) -> Vec<IpNetwork> {
    let own = config.node.address.value.iter().copied();
    let listening = config.dns.listen.value.iter().map(|address| address.ip());
    pools(config)
        .chain(own.chain(listening).map(Prefix::host))
        .chain(config.dns.clients.value.iter().copied())
        .filter_map(|prefix| IpNetwork::new(prefix.addr(), prefix.len()).ok())
        .collect()
}

/// Serves names where it is told to listen.
async fn serve(
    config: &Config,
    zone: Zone,
    catalog: &Arc<RwLock<Catalog>>,
    stopped: &watch::Receiver<bool>,
) -> Result<Option<(crate::api::DnsCounters, JoinHandle<()>)>, OwnerError> {
    if config.dns.listen.value.is_empty() {
        return Ok(None);
    }
    let settings = dns::Settings {
        listen: config.dns.listen.value.clone(),
        clients: clients(config),
        upstreams: config.dns.upstream.value.clone(),
        ..dns::Settings::new(zone)
    };
    let server = dns::Server::bind(settings, Arc::clone(catalog)).await?;
    let counters: crate::api::DnsCounters = Arc::new(server.stats());
    Ok(Some((counters, tokio::spawn(server.run(stopped.clone())))))
}

#[cfg(test)]
mod tests {
    use wayleave_discovery::{
        codec::Endpoint, community::DiscoveryNumber, names::Tag, registry::Registration,
    };

    use super::*;
    use crate::config::{HostFacts, Sources, parse};

    fn config(text: &str) -> Config {
        let sources = Sources::from_texts([("/etc/wayleave/wayleave.toml", text)]);
        parse(&sources, &HostFacts::default()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn containers_the_host_itself_and_who_is_named_may_ask() {
        let config = config(
            r#"
            [node]
            address = ["192.0.2.2"]
            [dns]
            listen = ["192.0.2.3:53"]
            clients = ["198.51.100.0/24", "2001:db8::/32"]
            [[pool]]
            cidr = "10.1.0.0/16"
            "#,
        );
        let clients = clients(&config);
        let may = |address: &str| {
            let address = address.parse().unwrap();
            clients.iter().any(|network| network.contains(address))
        };
        for address in [
            "10.1.9.9",
            "192.0.2.2",
            "192.0.2.3",
            "198.51.100.7",
            "2001:db8::7",
        ] {
            assert!(may(address), "{address}");
        }
        for address in ["192.0.2.1", "10.2.0.1", "2001:db9::1"] {
            assert!(!may(address), "{address}");
        }
    }

    #[test]
    fn what_cannot_be_announced_is_a_problem_until_it_can() {
        let codec = Codec::new(DiscoveryNumber::new(4_200_000_000).unwrap());
        let json = r#"{"name":"web","address":"10.1.7.2"}"#;
        let mut registration: Registration = serde_json::from_str(json).unwrap();
        let mut change = |tags: u32| {
            let tag = |n| Tag::new(&format!("{n:0>200}")).unwrap();
            registration.tags = (0..tags).map(tag).collect();
            let mut endpoint = Endpoint::new(NodeKey(7));
            endpoint.record.services = vec![registration.service(codec::State::Ready)];
            Change {
                address: "10.1.7.2".parse().unwrap(),
                endpoint: Some(endpoint),
            }
        };
        let problems = Problems::default();
        let done = announcement(&codec, &change(20), &problems);
        assert!(matches!(done, originate::Announcement::Withdraw(_)));
        assert_eq!(
            problems.standing()[0].problem.key,
            "registry.unannounced.10.1.7.2"
        );
        let done = announcement(&codec, &change(1), &problems);
        assert!(matches!(done, originate::Announcement::Originate(_)));
        assert!(problems.standing().is_empty());
    }

    #[test]
    fn addresses_of_the_host_and_of_its_neighbours_are_not_for_services() {
        let text = r#"
            [node]
            router_id = "192.0.2.1"
            address = ["10.1.7.1"]
            [bgp]
            asn = 65001
            listen = ["0.0.0.0:179", "10.1.7.2:179"]
            originate = ["10.1.7.3/32"]
            [[peer]]
            name = "tor"
            address = "10.1.7.4"
            local_address = "10.1.7.5"
            asn = 65100
            role = "host"
            [dns]
            listen = ["10.1.7.6:53"]
            [[pool]]
            cidr = "10.1.0.0/16"
            [[block]]
            prefix = "10.1.7.0/24"
            [[block]]
            prefix = "10.1.8.1/32"
        "#;
        let Places { blocks, reserved } = places(&config(text));
        assert_eq!(blocks.len(), 2);
        assert!(blocks[0].contains("10.1.7.77".parse().unwrap()));
        let reserved: Vec<String> = reserved
            .iter()
            .map(|(address, owner)| format!("{address} {owner}"))
            .collect();
        assert_eq!(
            reserved,
            [
                "10.1.7.1 this host's own address (node.address)",
                "10.1.7.2 this host's own address (bgp.listen)",
                "10.1.7.4 the address of neighbour tor",
                "10.1.7.5 this host's own address (local_address of neighbour tor)",
                "10.1.7.6 this host's own address (dns.listen)",
            ]
        );
    }
}
