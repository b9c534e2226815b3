//! DNS answers as pure data: a question and the catalog in, records out. Messages are the daemon's affair.
//!
//! ```text
//!  web.default.svc.ZONE               A, AAAA, TXT   web.svc.ZONE for the namespace default
//!  _http._tcp.web.default.svc.ZONE    SRV            _http._tcp.web.svc.ZONE likewise
//!  h1.node.ZONE                       A, AAAA
//!  10-1-7-2.addr.ZONE                 A, AAAA        the target of SRV: any address that is in the catalog
//!  ns.ZONE                            A, AAAA        this server
//!  ZONE                               SOA, NS
//!  2.7.1.10.in-addr.arpa              PTR            for addresses in the fabric's networks
//! ```
//!
//! Which instances an answer holds: those that are ready; when there is none of the family asked for, the draining
//! ones; then stale ones, whose node is not heard of any more. Never those in maintenance or failing: when nothing
//! else is left, the name exists and has no records (NODATA).
//!
//! While the catalog's first picture is under way, a name that is not there may be there in a moment: nothing is said
//! about it then ([`Reply::not_known_yet`]), for a resolver would believe and keep an answer that there is no such name.

mod name;
mod reverse;
mod zone;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use name::QueryName;
pub use zone::{Network, Order, Zone, ZoneError};

use crate::{
    catalog::{Catalog, Instance},
    codec::{Protocol, address_label},
    names::{Namespace, ServiceId, Tag},
    seed::Dice,
};

/// The type of a question.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum QueryType {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// Where a service is (RFC 2782).
    Srv,
    /// The name of an address (RFC 1035).
    Ptr,
    /// Tags (RFC 6763, section 6).
    Txt,
    /// The zone's servers.
    Ns,
    /// The zone's start of authority.
    Soa,
    /// Any type: answered with one type that is there, which RFC 8482, section 4.1 allows.
    Any,
    /// A type nothing here has.
    Other,
}

/// The data of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Where a service is.
    Srv {
        /// A lower one is used first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The name of its address, without a final dot.
        target: String,
    },
    /// The name of an address, without a final dot.
    Ptr(String),
    /// One character-string of at most 255 octets for each tag.
    Txt(Vec<Tag>),
    /// A server of the zone, without a final dot.
    Ns(String),
    /// The start of authority.
    Soa(Soa),
}

/// A start of authority (RFC 1035, section 3.3.13), names without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    /// The zone it belongs to.
    pub owner: String,
    /// The zone's primary server.
    pub primary: String,
    /// The mailbox of its keeper.
    pub mailbox: String,
    /// The lower half of the catalog's index.
    pub serial: u32,
    /// For how many seconds a negative answer may be kept (RFC 2308, section 4).
    pub minimum: u32,
}

/// The answer to a question about a name of ours.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// No such name (NXDOMAIN). The authority is set then.
    pub no_such_name: bool,
    /// Whether there is such a name is not known yet (SERVFAIL): the catalog is not complete. The rest is empty then.
    pub not_known_yet: bool,
    /// Records of the name asked for.
    pub answers: Vec<Data>,
    /// Records of other names, which spare the asker a question.
    pub additional: Vec<(String, Data)>,
    /// For a negative answer: who says so (RFC 2308).
    pub authority: Option<Soa>,
}

/// Answers a question. None when the name is not one of ours.
///
/// The seed decides which of many instances come first; the same seed and catalog give the same answer.
#[must_use]
pub fn answer(
    zone: &Zone,
    catalog: &Catalog,
    name: &QueryName,
    kind: QueryType,
    seed: u64,
) -> Option<Reply> {
    if let Some(relative) = name.within(&zone.origin) {
        let asked = Asked {
            zone,
            catalog,
            kind,
            seed,
        };
        let found = asked.forward(relative);
        return Some(reply(zone, catalog, &zone.origin, found));
    }
    let (owner, found) = reverse::answer(zone, catalog, name, kind)?;
    Some(reply(zone, catalog, &owner, found))
}

/// What a name is.
enum Found {
    /// There is no such name.
    Nothing,
    /// The name is there; there may be no records of the type.
    Records(Vec<Data>, Vec<(String, Data)>),
}

impl Found {
    fn empty() -> Self {
        Self::Records(Vec::new(), Vec::new())
    }

    fn only(records: Vec<Data>) -> Self {
        Self::Records(records, Vec::new())
    }
}

fn reply(zone: &Zone, catalog: &Catalog, owner: &str, found: Found) -> Reply {
    match found {
        Found::Nothing if !catalog.is_complete() => Reply {
            not_known_yet: true,
            ..Reply::default()
        },
        Found::Nothing => Reply {
            no_such_name: true,
            authority: Some(zone.soa(owner, catalog.index())),
            ..Reply::default()
        },
        Found::Records(answers, _) if answers.is_empty() => Reply {
            authority: Some(zone.soa(owner, catalog.index())),
            ..Reply::default()
        },
        Found::Records(answers, additional) => Reply {
            answers,
            additional,
            ..Reply::default()
        },
    }
}

struct Asked<'a> {
    zone: &'a Zone,
    catalog: &'a Catalog,
    kind: QueryType,
    seed: u64,
}

impl Asked<'_> {
    /// Answers for a name below the zone's origin, given without it.
    fn forward(&self, relative: &str) -> Found {
        let (rest, branch) = relative.rsplit_once('.').unwrap_or(("", relative));
        match (branch, rest) {
            ("", _) => self.apex(),
            ("ns", "") => self.addresses(self.zone.servers.iter().copied()),
            ("svc" | "node" | "addr", "") => Found::empty(),
            ("svc", rest) => self.service_branch(rest),
            ("node", rest) => self.node(rest),
            ("addr", rest) => self.address(rest),
            _ => Found::Nothing,
        }
    }

    fn apex(&self) -> Found {
        match self.kind {
            QueryType::Soa | QueryType::Any => {
                let soa = self.zone.soa(&self.zone.origin, self.catalog.index());
                Found::only(vec![Data::Soa(soa)])
            }
            QueryType::Ns => {
                let server = self.zone.server_name();
                let glue = self
                    .zone
                    .servers
                    .iter()
                    .map(|a| (server.clone(), address_data(*a)));
                Found::Records(vec![Data::Ns(server.clone())], glue.collect())
            }
            QueryType::A
            | QueryType::Aaaa
            | QueryType::Srv
            | QueryType::Ptr
            | QueryType::Txt
            | QueryType::Other => Found::empty(),
        }
    }

    /// `[_port._protocol.]service[.namespace]`
    fn service_branch(&self, rest: &str) -> Found {
        let mut labels = rest.split('.').peekable();
        let port = labels.next_if(|label| label.starts_with('_'));
        let protocol = labels.next_if(|label| label.starts_with('_'));
        let (Some(name), namespace, None) = (labels.next(), labels.next(), labels.next()) else {
            return Found::Nothing;
        };
        let short;
        let service = match namespace {
            // The rest of the question is the full name as it stands, when no port is in front of it.
            Some(_) => rest
                .get(rest.len() - full_length(name, namespace)..)
                .unwrap_or_default(),
            None => {
                short = format!("{name}.{}", Namespace::DEFAULT);
                &short
            }
        };
        if !self.catalog.has_service(service) {
            // `shop.svc.ZONE` is no service, yet something is below it.
            let is_namespace =
                port.is_none() && namespace.is_none() && self.catalog.has_namespace(name);
            return if is_namespace {
                Found::empty()
            } else {
                Found::Nothing
            };
        }
        match (port, protocol) {
            (None, _) => self.service(service),
            (Some(port), Some(protocol)) => self.port(service, port, protocol),
            // `_tcp.web.svc.ZONE`: nothing itself, but names are below it if it is a protocol in use.
            (Some(protocol), None) => match parse_protocol(protocol) {
                Some(protocol) if self.has_port(service, None, protocol) => Found::empty(),
                Some(_) | None => Found::Nothing,
            },
        }
    }

    fn service(&self, service: &str) -> Found {
        match self.kind {
            QueryType::A => Found::only(self.family(service, IpAddr::is_ipv4)),
            QueryType::Aaaa => Found::only(self.family(service, IpAddr::is_ipv6)),
            QueryType::Any => {
                let v4 = self.family(service, IpAddr::is_ipv4);
                let any = if v4.is_empty() {
                    self.family(service, IpAddr::is_ipv6)
                } else {
                    v4
                };
                Found::only(any)
            }
            QueryType::Txt => {
                let instances = self.best(service, |_| true);
                let tags: std::collections::BTreeSet<&Tag> = instances
                    .iter()
                    .flat_map(|instance| &instance.service.tags)
                    .collect();
                let text: Vec<Tag> = tags.into_iter().cloned().collect();
                Found::only(if text.is_empty() {
                    Vec::new()
                } else {
                    vec![Data::Txt(text)]
                })
            }
            QueryType::Srv | QueryType::Ptr | QueryType::Ns | QueryType::Soa | QueryType::Other => {
                Found::empty()
            }
        }
    }

    fn family(&self, service: &str, is_wanted: fn(&IpAddr) -> bool) -> Vec<Data> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for instance in self.best(service, |instance| is_wanted(&instance.address)) {
            // Several instances at one address, or several nodes behind one: a set of records holds it once.
            if !addresses.contains(&instance.address) {
                addresses.push(instance.address);
            }
        }
        addresses.into_iter().map(address_data).collect()
    }

    fn port(&self, service: &str, port: &str, protocol: &str) -> Found {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), parse_protocol(protocol))
        else {
            return Found::Nothing;
        };
        if !self.has_port(service, Some(port), protocol) {
            return Found::Nothing;
        }
        if !matches!(self.kind, QueryType::Srv | QueryType::Any) {
            return Found::empty();
        }
        let number = |instance: &Instance<'_>| {
            let mut ports = instance.service.ports.iter();
            ports
                .find(|p| is_port(p, Some(port), protocol))
                .map(|p| p.number)
        };
        let (mut answers, mut additional) = (Vec::new(), Vec::new());
        for instance in self.best(service, |instance| number(instance).is_some()) {
            let Some(port) = number(&instance) else {
                continue;
            };
            let target = self.zone.address_name(instance.address);
            let record = Data::Srv {
                priority: u16::from(instance.service.priority),
                weight: instance.service.weight,
                port,
                target: target.clone(),
            };
            if !answers.contains(&record) {
                answers.push(record);
                let glue = (target, address_data(instance.address));
                if !additional.contains(&glue) {
                    additional.push(glue);
                }
            }
        }
        Found::Records(answers, additional)
    }

    fn has_port(&self, service: &str, port: Option<&str>, protocol: Protocol) -> bool {
        self.catalog.resolve(service).any(|instance| {
            instance
                .service
                .ports
                .iter()
                .any(|p| is_port(p, port, protocol))
        })
    }

    /// The instances an answer holds: the best standing of which there is one that is wanted, in the zone's order,
    /// at most as many as the zone allows. One pass over the service, whatever its size.
    fn best(&self, service: &str, is_wanted: impl Fn(&Instance<'_>) -> bool) -> Vec<Instance<'_>> {
        let mut best: Vec<Instance<'_>> = Vec::new();
        let mut dice = Dice::new(self.seed);
        let limit = self.zone.answer_limit;
        let mut seen = 0;
        for member in self.catalog.members(service).into_iter().flatten() {
            let done = best
                .first()
                .is_some_and(|first| first.standing != member.standing)
                || !member.standing.is_answered()
                || (self.zone.order == Order::Nearest && seen >= limit);
            if done {
                break;
            }
            let Some(instance) = self.catalog.instance_of(member).filter(|i| is_wanted(i)) else {
                continue;
            };
            seen += 1;
            if best.len() < limit {
                best.push(instance);
            } else {
                // A fair sample of unknown size: the n-th is kept with the chance limit / n (Vitter's algorithm R).
                let at = dice.below(seen);
                if let Some(place) = best.get_mut(at) {
                    *place = instance;
                }
            }
        }
        dice.shuffle(&mut best);
        if self.zone.order == Order::Nearest {
            best.sort_by_key(|instance| instance.facts.distance);
        }
        best
    }

    fn node(&self, name: &str) -> Found {
        let mut nodes = self.catalog.nodes_named(name).peekable();
        if nodes.peek().is_none() {
            return Found::Nothing;
        }
        self.addresses(nodes.flat_map(|node| node.addresses()))
    }

    fn address(&self, label: &str) -> Found {
        match name::parse_address_label(label) {
            // Only what is in the fabric: this zone must not make a name for any address there is.
            Some(address) if is_known(self.catalog, address) => self.addresses([address]),
            Some(_) | None => Found::Nothing,
        }
    }

    fn addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Found {
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
        let chosen = match self.kind {
            QueryType::A => v4,
            QueryType::Aaaa => v6,
            QueryType::Any if v4.is_empty() => v6,
            QueryType::Any => v4,
            QueryType::Srv
            | QueryType::Ptr
            | QueryType::Txt
            | QueryType::Ns
            | QueryType::Soa
            | QueryType::Other => Vec::new(),
        };
        Found::only(chosen.into_iter().map(address_data).collect())
    }
}

/// Whether an address belongs to something that is believed.
fn is_known(catalog: &Catalog, address: IpAddr) -> bool {
    catalog
        .endpoint(address)
        .iter()
        .any(|held| held.verdict.is_believed())
        || catalog.nodes_at(address).next().is_some()
}

fn address_data(address: IpAddr) -> Data {
    match address {
        IpAddr::V4(v4) => Data::A(v4),
        IpAddr::V6(v6) => Data::Aaaa(v6),
    }
}

fn is_port(port: &crate::codec::Port, name: Option<&str>, protocol: Protocol) -> bool {
    let named = name.is_none_or(|name| port.name.as_ref().is_some_and(|n| n.as_str() == name));
    named && port.protocol == protocol
}

fn parse_protocol(label: &str) -> Option<Protocol> {
    match label {
        "_tcp" => Some(Protocol::TCP),
        "_udp" => Some(Protocol::UDP),
        "_sctp" => Some(Protocol::SCTP),
        _ => None,
    }
}

fn full_length(name: &str, namespace: Option<&str>) -> usize {
    name.len() + namespace.map_or(0, |namespace| 1 + namespace.len())
}

/// The names of an address, for PTR: its services', then its node's.
fn names_of(zone: &Zone, catalog: &Catalog, address: IpAddr) -> Vec<String> {
    let mut services = std::collections::BTreeSet::new();
    for held in catalog
        .endpoint(address)
        .iter()
        .filter(|held| held.verdict.is_believed())
    {
        let record = held.announcement.record();
        services.extend(record.into_iter().flat_map(|r| &r.services).map(|s| s.id()));
    }
    let of_service = |id: &ServiceId| format!("{id}.svc.{}", zone.origin);
    let mut names: Vec<String> = services.iter().map(of_service).collect();
    let nodes = catalog.nodes_at(address).filter_map(|node| node.name());
    names.extend(nodes.map(|name| format!("{name}.node.{}", zone.origin)));
    if names.is_empty() && is_known(catalog, address) {
        names.push(format!("{}.addr.{}", address_label(address), zone.origin));
    }
    names
}

#[cfg(test)]
mod tests;
