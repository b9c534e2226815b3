//! `/v1/resolve`: a name as the name server would answer it, with what stands behind.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::IpAddr,
};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_discovery::{
    answers::{self, Data, QueryName, QueryType, Reply, Zone},
    catalog::{Catalog, Instance, Standing},
    names::Namespace,
};

use super::{ApiError, Code, OwnerContext, endpoints::ServiceView, page_limit};

/// What may stand behind the question mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveParameters {
    /// A full name, one without the zone (`web.default.svc`, `h1.node`), a service (`web`,
    /// `web.default`, `_http._tcp.web`), or an address.
    pub name: String,
    /// `A`, `AAAA`, `SRV`, `TXT`, `PTR`, `NS`, `SOA`; by default what suits the name.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Instances behind a service that are listed: 1 to 10,000, by default 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The full name that was asked for.
    pub name: String,
    /// `ok`, `no-data` (the name is there, records of the type are not) or `no-such-name`.
    pub status: ResolveStatus,
    /// For how many seconds the answer may be kept.
    pub ttl: u32,
    /// The types that were asked for.
    pub types: Vec<String>,
    /// Records of the name.
    pub answers: Vec<RecordView>,
    /// Records of other names that go along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<RecordView>,
    /// For a service: its full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// For a service: its instances, best first, those that are not answered with too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceView>,
    /// Instances that were left off, because of `limit`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_off: usize,
    /// The catalog's index; see `/v1/watch`.
    pub index: u64,
}

/// How a name was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResolveStatus {
    /// There are records.
    Ok,
    /// The name is there, records of the type are not.
    NoData,
    /// NXDOMAIN.
    NoSuchName,
}

/// A record, its data as zone files have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Whose record it is.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its data; of an SRV record `PRIORITY WEIGHT PORT TARGET`.
    pub data: String,
}

/// An instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its address.
    pub address: IpAddr,
    /// Its node's key.
    pub key: String,
    /// Its node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How good it is for an answer: `ready`, `draining`, `stale-ready`, `stale-draining` or
    /// `out`; a worse one is answered with when no better one is left, `out` never.
    pub standing: String,
    /// AS hops on the way; 0 for this host's own.
    pub distance: u32,
    /// The service there.
    #[serde(flatten)]
    pub service: ServiceView,
}

impl InstanceView {
    fn new(catalog: &Catalog, instance: &Instance<'_>) -> Self {
        let node = catalog.node(instance.key);
        let standing = match instance.standing {
            Standing::Ready => "ready",
            Standing::Draining => "draining",
            Standing::StaleReady => "stale-ready",
            Standing::StaleDraining => "stale-draining",
            Standing::Out => "out",
        };
        Self {
            address: instance.address,
            key: instance.key.to_string(),
            node: node.and_then(|node| Some(node.name()?.to_string())),
            standing: standing.to_owned(),
            distance: instance.facts.distance,
            service: ServiceView::new(instance.service),
        }
    }
}

pub(super) fn routes() -> Router<OwnerContext> {
    Router::new().route("/v1/resolve", get(resolve))
}

async fn resolve(
    State(context): State<OwnerContext>,
    RawQuery(query): RawQuery,
) -> Result<Json<Resolution>, ApiError> {
    let names = context.running_names()?;
    let parameters: ResolveParameters = super::parameters(query.as_deref())?;
    let limit = page_limit(parameters.limit)?;
    let kind = parameters.kind.as_deref().map(record_type).transpose()?;
    let seed = RandomState::new().build_hasher().finish();
    let catalog = names.read();
    let found = answer(&names.zone, &catalog, (&parameters.name, kind), limit, seed)?;
    if found.status == ResolveStatus::NoSuchName && !catalog.is_complete() {
        let message = format!("whether there is `{}` is not known yet", parameters.name);
        return Err(ApiError::new(Code::Unavailable, message).hint(
            "the agent has just started, and its neighbours have not told all they have; ask again in a moment",
        ));
    }
    Ok(Json(found))
}

/// Answers under the lock: in proportion to the instances of one service at most.
fn answer(
    zone: &Zone,
    catalog: &Catalog,
    (text, kind): (&str, Option<QueryType>),
    limit: usize,
    seed: u64,
) -> Result<Resolution, ApiError> {
    let mut first = None;
    for name in candidates(zone, text) {
        let Some(found) = ask(zone, catalog, &name, kind, limit, seed) else {
            continue;
        };
        if found.status != ResolveStatus::NoSuchName {
            return Ok(found);
        }
        first.get_or_insert(found);
    }
    first.ok_or_else(|| {
        let origin = zone.origin();
        ApiError::new(
            Code::NotFound,
            format!("`{text}` is no name of this fabric, whose zone is {origin}"),
        )
        .hint("names of other zones and addresses outside of the pools are for other name servers: ask them, or `dig`")
    })
}

/// The full names a text may stand for, the likeliest first.
fn candidates(zone: &Zone, text: &str) -> Vec<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return vec![reverse_name(address)];
    }
    let text = text.to_ascii_lowercase();
    let origin = zone.origin();
    let is_full = |name: &str| {
        QueryName::from_text(name).is_some_and(|name| {
            name.within(origin).is_some()
                || name.within("in-addr.arpa").is_some()
                || name.within("ip6.arpa").is_some()
        })
    };
    if is_full(&text) || text.ends_with('.') {
        return vec![text.trim_end_matches('.').to_owned()];
    }
    // `h1.node` could be a service `h1` of a namespace `node`, and is the node if there is one.
    let below = format!("{text}.{origin}");
    let service = format!("{text}.svc.{origin}");
    match text.rsplit('.').next() {
        Some("svc" | "node" | "addr") if text.contains('.') => vec![below, service],
        _ => vec![service, below],
    }
}

/// The name under which the name of an address is asked for (RFC 1035, 3.5; RFC 3596, 2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles =
                (0..32).map(|nibble| format!("{:x}.", v6.to_bits() >> (4 * nibble) & 0xf));
            format!("{}ip6.arpa", nibbles.collect::<String>())
        }
    }
}

fn ask(
    zone: &Zone,
    catalog: &Catalog,
    text: &str,
    kind: Option<QueryType>,
    limit: usize,
    seed: u64,
) -> Option<Resolution> {
    let name = QueryName::from_text(text)?;
    let kinds = kind.map_or_else(|| types_that_suit(&name), |kind| vec![kind]);
    let mut resolution = Resolution {
        name: name.as_str().to_owned(),
        status: ResolveStatus::NoData,
        ttl: zone.ttl,
        types: kinds
            .iter()
            .map(|kind| type_name(*kind).to_owned())
            .collect(),
        answers: Vec::new(),
        additional: Vec::new(),
        service: None,
        instances: Vec::new(),
        left_off: 0,
        index: catalog.index(),
    };
    for kind in kinds {
        let reply = answers::answer(zone, catalog, &name, kind, seed)?;
        resolution.take(reply);
    }
    match resolution.status {
        ResolveStatus::Ok => {}
        ResolveStatus::NoData | ResolveStatus::NoSuchName => resolution.ttl = zone.negative_ttl,
    }
    if let Some(service) = name.within(zone.origin()).and_then(service_of)
        && catalog.has_service(&service)
    {
        let mut instances = catalog.resolve(&service);
        resolution.instances = instances
            .by_ref()
            .take(limit)
            .map(|instance| InstanceView::new(catalog, &instance))
            .collect();
        resolution.left_off = instances.count();
        resolution.service = Some(service);
    }
    Some(resolution)
}

impl Resolution {
    fn take(&mut self, reply: Reply) {
        if reply.no_such_name || reply.not_known_yet {
            self.status = ResolveStatus::NoSuchName;
        }
        if !reply.answers.is_empty() {
            self.status = ResolveStatus::Ok;
        }
        let answers = reply.answers.iter().map(|data| record(&self.name, data));
        self.answers.extend(answers.collect::<Vec<_>>());
        let additional = reply.additional.iter();
        self.additional
            .extend(additional.map(|(name, data)| record(name, data)));
    }
}

/// The service a name below the zone is of: `_http._tcp.web.default.svc` is `web.default`'s.
fn service_of(relative: &str) -> Option<String> {
    let rest = relative.strip_suffix(".svc")?;
    let labels: Vec<&str> = rest
        .split('.')
        .skip_while(|label| label.starts_with('_'))
        .collect();
    match labels.as_slice() {
        [name] => Some(format!("{name}.{}", Namespace::DEFAULT)),
        [name, namespace] => Some(format!("{name}.{namespace}")),
        _ => None,
    }
}

/// What is asked for when nobody says.
fn types_that_suit(name: &QueryName) -> Vec<QueryType> {
    if name.within("arpa").is_some() {
        vec![QueryType::Ptr]
    } else if name.as_str().starts_with('_') {
        vec![QueryType::Srv]
    } else {
        vec![QueryType::A, QueryType::Aaaa]
    }
}

fn record(name: &str, data: &Data) -> RecordView {
    let (kind, data) = match data {
        Data::A(address) => (QueryType::A, address.to_string()),
        Data::Aaaa(address) => (QueryType::Aaaa, address.to_string()),
        Data::Srv {
            priority,
            weight,
            port,
            target,
        } => (
            QueryType::Srv,
            format!("{priority} {weight} {port} {target}."),
        ),
        Data::Ptr(target) => (QueryType::Ptr, format!("{target}.")),
        Data::Txt(tags) => {
            let strings: Vec<_> = tags.iter().map(|tag| quoted(tag.as_str())).collect();
            (QueryType::Txt, strings.join(" "))
        }
        Data::Ns(server) => (QueryType::Ns, format!("{server}.")),
        Data::Soa(soa) => (
            QueryType::Soa,
            format!(
                "{}. {}. {} minimum {}",
                soa.primary, soa.mailbox, soa.serial, soa.minimum
            ),
        ),
    };
    RecordView {
        name: name.to_owned(),
        kind: type_name(kind).to_owned(),
        data,
    }
}

/// A character-string as zone files have it (RFC 1035, 5.1).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn record_type(text: &str) -> Result<QueryType, ApiError> {
    let kinds = [
        QueryType::A,
        QueryType::Aaaa,
        QueryType::Srv,
        QueryType::Ptr,
        QueryType::Txt,
        QueryType::Ns,
        QueryType::Soa,
    ];
    kinds
        .into_iter()
        .find(|kind| type_name(*kind).eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let message =
                format!("`type`: expected A, AAAA, SRV, PTR, TXT, NS or SOA, found {text:?}");
            ApiError::new(Code::BadRequest, message)
        })
}

fn type_name(kind: QueryType) -> &'static str {
    match kind {
        QueryType::A => "A",
        QueryType::Aaaa => "AAAA",
        QueryType::Srv => "SRV",
        QueryType::Ptr => "PTR",
        QueryType::Txt => "TXT",
        QueryType::Ns => "NS",
        QueryType::Soa => "SOA",
        QueryType::Any => "ANY",
        QueryType::Other => "OTHER",
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
