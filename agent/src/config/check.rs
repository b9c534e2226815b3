//! From the tables as written to a [`Config`]: defaults, derived values, and what cannot be.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use wayleave_bgp_core::{Asn, Prefix, RouterId};
use wayleave_discovery::answers::Zone;

use super::{
    diagnostic::{Fault, Faults},
    group::Groups,
    host::HostFacts,
    model::{Api, Bgp, Config, Discovery, Dns, Fib, Log, LogFormat, Node, Paths},
    password, peer, policy,
    raw::{Document, RawApi, RawBgp, RawDiscovery, RawDns, RawFib, RawLog, RawNode, RawPaths},
    setting::Setting,
    source::{Place, Sources},
    space,
    value::Found,
};
use crate::log;

/// The AS of a speaker that has no peers and was told none (RFC 6996, the first private number).
/// The longest Restart Time: 12 bits (RFC 4724, 3).
const LONGEST_RESTART: u16 = 4095;
/// The longest Long-lived Stale Time: 24 bits (RFC 9494, 3).
const LONGEST_STALE: u32 = (1 << 24) - 1;
const DEFAULT_ASN: Asn = Asn(64_512);

/// Checks a document. What is wrong goes to `faults`; `None` when too little is left.
pub(super) fn check(
    document: Document,
    sources: &Sources,
    host: &HostFacts,
    faults: &mut Faults,
) -> Option<Config> {
    let mut check = Check { sources, faults };
    let first_peer = document
        .peers
        .first()
        .and_then(|peer| peer.place.clone())
        .or_else(|| {
            document
                .ranges
                .first()
                .and_then(|range| range.place.clone())
        });
    let references = policy::references(&document);
    let bgp = check.bgp(document.bgp, first_peer.as_ref());
    let pools = space::pools(document.pools, &mut check);
    let blocks = space::blocks(document.blocks, &pools, &mut check);
    let groups = Groups::new(document.groups, &mut check);
    let peers = peer::peers(document.peers, &groups, &bgp, &mut check);
    let ranges = peer::ranges(document.ranges, &groups, &bgp, &mut check);
    if let (Some(peers), Some(ranges)) = (&peers, &ranges) {
        password::check(peers, ranges, &mut check);
    }
    let node = check.node(document.node, host, first_peer.as_ref());
    let paths = check.paths(document.paths);
    let api = check.api(document.api);
    let fib = check.fib(document.fib);
    let dns = check.dns(document.dns);
    let discovery = check.discovery(document.discovery);
    let log = check.log(document.log);
    let fabric = policy::fabric(&bgp, pools.as_deref(), &discovery, &dns);
    let policies = policy::policies(
        document.prefix_lists,
        document.policies,
        &policy::Surroundings {
            fabric: &fabric,
            blocks: blocks.as_deref(),
            peers: peers.as_deref(),
            ranges: ranges.as_deref(),
        },
        &mut check,
    );
    policy::check_references(&references, policies.as_ref(), &mut check);
    Some(Config {
        files: sources.paths(),
        node,
        paths,
        api,
        bgp,
        peers: peers?,
        ranges: ranges?,
        groups: groups.names(&check),
        pools: pools?,
        blocks: blocks?,
        fib,
        dns,
        discovery,
        log,
        policies: policies?,
    })
}

/// Where origins come from and faults go.
pub(super) struct Check<'a> {
    pub(super) sources: &'a Sources,
    pub(super) faults: &'a mut Faults,
}

impl Check<'_> {
    /// What was found, or the default.
    pub(super) fn setting<T>(&self, found: Option<Found<T>>, default: T) -> Setting<T> {
        match found {
            Some(found) => self.found(found),
            None => Setting::default_to(default),
        }
    }

    /// What was found, or nothing.
    pub(super) fn optional<T>(&self, found: Option<Found<T>>) -> Setting<Option<T>> {
        match found {
            Some(found) => self.found(found).map(Some),
            None => Setting::default_to(None),
        }
    }

    pub(super) fn found<T>(&self, found: Found<T>) -> Setting<T> {
        Setting {
            value: found.value,
            origin: self.sources.origin(&found.place),
        }
    }

    pub(super) fn fault(&mut self, place: &Place, message: impl Into<String>) {
        self.faults.push(Fault::new(message).at(place));
    }

    /// A fault when a key that is needed was not written at all; a wrong value was reported.
    pub(super) fn missing(&mut self, lacks: bool, fault: Fault) {
        if lacks {
            self.faults.push(fault);
        }
    }

    /// A fault unless `holds`.
    pub(super) fn require<T>(
        &mut self,
        found: Option<&Found<T>>,
        holds: impl FnOnce(&T) -> bool,
        message: impl FnOnce(&T) -> String,
    ) {
        if let Some(found) = found.filter(|found| !holds(&found.value)) {
            self.fault(&found.place, message(&found.value));
        }
    }

    /// A list without repetition, sorted no further than it was written.
    pub(super) fn distinct<T: Copy + Ord + std::fmt::Display>(
        &mut self,
        key: &str,
        list: Option<Found<Vec<Found<T>>>>,
    ) -> Option<Found<Vec<T>>> {
        let list = list?;
        let mut seen: BTreeMap<T, Place> = BTreeMap::new();
        for item in &list.value {
            if let Some(first) = seen.get(&item.value) {
                let message = format!("`{key}`: {} stands there twice", item.value);
                self.faults.push(
                    Fault::new(message)
                        .at(&item.place)
                        .also("first here", first),
                );
            } else {
                seen.insert(item.value, item.place.clone());
            }
        }
        let value = list.value.into_iter().map(|item| item.value).collect();
        Some(Found {
            value,
            place: list.place,
        })
    }

    fn node(&mut self, raw: RawNode, host: &HostFacts, first_peer: Option<&Place>) -> Node {
        let lacks_router_id = raw.lacks("router_id");
        self.require(raw.name.as_ref(), |name| is_label(name), |name| {
            format!("`node.name`: expected one DNS label (letters, digits and inner hyphens, at most 63), found {name:?}")
        });
        let name = match (raw.name, host.name.as_deref().and_then(label_of)) {
            (Some(found), _) => self.found(found).map(|name| name.to_ascii_lowercase()),
            (None, Some(derived)) => Setting::derived(derived, "the host name"),
            (None, None) => Setting::default_to("localhost".to_owned()),
        };
        self.require(
            raw.router_id.as_ref(),
            |id| id.to_u32() != 0,
            |_| "`node.router_id`: 0.0.0.0 is no router id (RFC 6286)".to_owned(),
        );
        let router_id = match (raw.router_id, host.ipv4) {
            (Some(found), _) => self.found(found),
            (None, Some(addr)) => Setting::derived(RouterId(addr), "the uplink's IPv4 address"),
            (None, None) => {
                if let (true, Some(place)) = (lacks_router_id, first_peer) {
                    let fault = Fault::new(
                        "`node.router_id` is missing, and this host has no IPv4 address to derive it from",
                    );
                    let help = "write router_id = \"192.0.2.1\" (any number that no other speaker has) under [node]";
                    self.faults.push(fault.at(place).help(help));
                }
                Setting::default_to(RouterId(Ipv4Addr::LOCALHOST))
            }
        };
        let addresses = self.distinct("node.address", raw.address);
        self.require(
            addresses.as_ref(),
            |list| one_per_family(list.iter().copied()),
            |_| "`node.address`: expected at most one address per family".to_owned(),
        );
        let address = match addresses {
            Some(found) => self.found(found),
            None => {
                let v4 = host.ipv4.map(IpAddr::V4);
                let derived: Vec<_> = v4.into_iter().chain(host.ipv6.map(IpAddr::V6)).collect();
                Setting::derived(derived, "the uplink")
            }
        };
        Node {
            name,
            router_id,
            address,
        }
    }

    fn paths(&self, raw: RawPaths) -> Paths {
        let services = match raw.services {
            Some(found) => self.found(found),
            None if self.sources.directory().is_absolute() => Setting::derived(
                self.sources.directory().join("services.d"),
                "the place of the configuration",
            ),
            None => Setting::default_to(PathBuf::from("/etc/wayleave/services.d")),
        };
        Paths {
            state: self.setting(raw.state, PathBuf::from("/var/lib/wayleave")),
            run: self.setting(raw.run, PathBuf::from("/run/wayleave")),
            services,
        }
    }

    fn api(&self, raw: RawApi) -> Api {
        Api {
            group: self.optional(raw.group),
        }
    }

    fn bgp(&mut self, raw: RawBgp, first_peer: Option<&Place>) -> Bgp {
        if let (true, Some(place)) = (raw.lacks("asn"), first_peer) {
            let fault =
                Fault::new("`bgp.asn` is missing: a speaker with peers needs its AS number");
            let help =
                "write asn = 64512 (a number of your own; 64512 to 65534 are private) under [bgp]";
            self.faults.push(fault.at(place).help(help));
        }
        self.require(
            raw.hold_time.as_ref(),
            |time| hold_time_is_legal(*time),
            |time| format!("`bgp.hold_time`: {}", hold_time_expected(*time)),
        );
        self.require(
            raw.send_hold_time.as_ref(),
            |time| *time > 0,
            |_| "`bgp.send_hold_time`: expected 1 to 65535 (seconds), found 0".to_owned(),
        );
        self.require(
            raw.connect_retry.as_ref(),
            |time| *time > 0,
            |_| "`bgp.connect_retry`: expected 1 to 65535 (seconds), found 0".to_owned(),
        );
        self.require(
            raw.restart_time.as_ref(),
            |time| *time <= LONGEST_RESTART,
            |time| {
                format!(
                    "`bgp.restart_time`: expected 0 (neighbours are not asked to hold our routes) to \
                     {LONGEST_RESTART} (seconds), found {time}"
                )
            },
        );
        self.require(
            raw.long_lived_restart_time.as_ref(),
            |time| *time <= LONGEST_STALE,
            |time| {
                format!(
                    "`bgp.long_lived_restart_time`: expected 0 (neighbours are not asked to hold our \
                     routes for long) to {LONGEST_STALE} (seconds), found {time}"
                )
            },
        );
        self.require(
            raw.selection_deferral.as_ref(),
            |time| (1..=3600).contains(time),
            |time| format!("`bgp.selection_deferral`: expected 1 to 3600 (seconds), found {time}"),
        );
        self.require(
            raw.multipath.as_ref(),
            |paths| *paths > 0,
            |_| "`bgp.multipath`: expected 1 (only the best path) to 255, found 0".to_owned(),
        );
        self.require(
            raw.cluster_id.as_ref(),
            |id| id.to_u32() != 0,
            |_| "`bgp.cluster_id`: 0.0.0.0 is no cluster id".to_owned(),
        );
        self.ports("bgp.listen", raw.listen.as_ref());
        let listen = match self.distinct("bgp.listen", raw.listen) {
            Some(found) => self.found(found),
            // Without peers nobody may connect, and a host may have another speaker on the port.
            None if first_peer.is_none() => {
                Setting::derived(Vec::new(), "there being no peers and no ranges")
            }
            None => Setting::default_to(vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 179)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 179)),
            ]),
        };
        let originate = self.distinct::<Prefix>("bgp.originate", raw.originate);
        Bgp {
            asn: self.setting(raw.asn, DEFAULT_ASN),
            cluster_id: self.optional(raw.cluster_id),
            listen,
            hold_time: self.setting(raw.hold_time, 90),
            send_hold_time: self.setting(raw.send_hold_time, 480),
            connect_retry: self.setting(raw.connect_retry, 5),
            restart_time: self.setting(raw.restart_time, 30),
            long_lived_restart_time: self.setting(raw.long_lived_restart_time, 30),
            selection_deferral: self.setting(raw.selection_deferral, 30),
            multipath: self.setting(raw.multipath, 16),
            originate: self.setting(originate, Vec::new()),
        }
    }

    fn fib(&mut self, raw: RawFib) -> Fib {
        self.require(
            raw.table.as_ref(),
            |table| *table > 0,
            |_| "`fib.table`: expected 1 to 4294967295 (254 is the main table), found 0".to_owned(),
        );
        self.require(raw.protocol.as_ref(), |protocol| *protocol > 4, |protocol| {
            format!("`fib.protocol`: expected 5 to 255, found {protocol}: 0 to 4 are the kernel's own and the administrator's")
        });
        Fib {
            install: self.setting(raw.install, true),
            table: self.setting(raw.table, 254),
            metric: self.setting(raw.metric, 50),
            protocol: self.setting(raw.protocol, 201),
            nexthop_objects: self.setting(raw.nexthop_objects, true),
        }
    }

    fn dns(&mut self, raw: RawDns) -> Dns {
        self.ports("dns.listen", raw.listen.as_ref());
        self.ports("dns.upstream", raw.upstream.as_ref());
        if let Some(zone) = &raw.zone
            && let Err(error) = Zone::new(&zone.value)
        {
            self.fault(&zone.place, format!("`dns.zone`: {error}"));
        }
        let listening = raw.listen.iter().flat_map(|list| &list.value);
        for item in listening.clone() {
            if item.value.ip().is_unspecified() {
                let fault = Fault::new(format!(
                    "`dns.listen`: expected addresses of this host, found {}: answers could leave from another \
                     address than the one asked",
                    item.value
                ));
                let help = "write each address, as in listen = [\"192.0.2.1:53\"]";
                self.faults.push(fault.at(&item.place).help(help));
            }
        }
        for upstream in raw.upstream.iter().flat_map(|list| &list.value) {
            if let Some(own) = listening.clone().find(|own| own.value == upstream.value) {
                let fault = Fault::new(format!(
                    "`dns.upstream`: {} is this name server itself",
                    upstream.value
                ));
                let fault = fault
                    .at(&upstream.place)
                    .also("it listens there", &own.place);
                self.faults
                    .push(fault.help("name another one, or none: then other names are refused"));
            }
        }
        let listen = self.distinct("dns.listen", raw.listen);
        let upstream = self.distinct("dns.upstream", raw.upstream);
        let clients = self.distinct("dns.clients", raw.clients);
        let zone = self.setting(raw.zone, Zone::DEFAULT_ORIGIN.to_owned());
        Dns {
            listen: self.setting(listen, Vec::new()),
            zone: zone.map(|zone| zone.trim_end_matches('.').to_ascii_lowercase()),
            upstream: self.setting(upstream, Vec::new()),
            clients: self.setting(clients, Vec::new()),
        }
    }

    fn discovery(&mut self, raw: RawDiscovery) -> Discovery {
        self.require(
            raw.number.as_ref(),
            |number| Asn(*number).is_usable(),
            |number| format!("`discovery.number`: {number} is reserved (RFC 8092, 5); take an AS number of your own"),
        );
        Discovery {
            number: self.optional(raw.number),
            region: self.setting(raw.region, 0),
            zone: self.setting(raw.zone, 0),
            prefix_budget: self.setting(raw.prefix_budget, 1_000),
        }
    }

    fn log(&mut self, raw: RawLog) -> Log {
        if let Some(level) = &raw.level
            && let Err(error) = log::parse_levels(&level.value)
        {
            self.fault(&level.place, format!("`log.level`: {error}"));
        }
        Log {
            level: self.setting(raw.level, "info".to_owned()),
            format: self.setting(raw.format, LogFormat::Text),
        }
    }

    fn ports(&mut self, key: &str, list: Option<&Found<Vec<Found<SocketAddr>>>>) {
        for item in list.into_iter().flat_map(|list| &list.value) {
            if item.value.port() == 0 {
                self.fault(
                    &item.place,
                    format!("`{key}`: expected a port from 1 to 65535, found 0"),
                );
            }
        }
    }
}

/// 0, or 3 seconds and up (RFC 4271, 4.2).
pub(super) fn hold_time_is_legal(seconds: u16) -> bool {
    seconds == 0 || seconds >= 3
}

pub(super) fn hold_time_expected(found: u16) -> String {
    format!("expected 0 (never) or 3 to 65535 (seconds; RFC 4271, 4.2), found {found}")
}

/// RFC 1123, 2.1.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The first label of a host name, with what no label may hold made a hyphen.
fn label_of(host_name: &str) -> Option<String> {
    let first = host_name.split('.').next()?;
    let clean: String = first
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    Some(clean.trim_matches('-').to_owned()).filter(|label| is_label(label))
}

fn one_per_family(addresses: impl Iterator<Item = IpAddr>) -> bool {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv4);
    v4.len() <= 1 && v6.len() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_one_label() {
        assert_eq!(label_of("Web_1.example.org").as_deref(), Some("web-1"));
        assert_eq!(label_of("host").as_deref(), Some("host"));
        assert_eq!(label_of("___"), None);
        assert_eq!(label_of(""), None);
    }
}
