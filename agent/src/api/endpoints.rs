//! `/v1/endpoints`: what is announced in the fabric, address by address, believed or not.

use std::{collections::BTreeSet, net::IpAddr};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_discovery::{
    catalog::{Catalog, Held},
    codec::{NodeKey, Port, Protocol, RecordStatus, Service, State as ServiceState},
    judge::{Source, Verdict},
    names::{Namespace, PortName, ServiceId, ServiceName, Tag},
};

use super::{ApiError, Code, OwnerContext, page_limit};

/// Addresses looked at before the catalog is given back for others to change it.
const STRETCH: usize = 4_096;

/// What may stand behind the question mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointParameters {
    /// Only endpoints of this service, `web` or `web.default`, and of their services only this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only those of this node, by name or key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Only those at this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<IpAddr>,
    /// Addresses in a page: 1 to 10,000, by default 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One page, by address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPage {
    /// The catalog's index when the page began; see `/v1/watch`.
    pub index: u64,
    /// The endpoints.
    pub endpoints: Vec<EndpointView>,
    /// The `after` of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<IpAddr>,
}

/// What one node announces at one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// The address.
    pub address: IpAddr,
    /// The node's key, 16 hexadecimal digits; absent when the route does not say whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The node's name, once its carrier is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether names are answered with it.
    pub believed: bool,
    /// Why not; or, for one that is believed, what speaks against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// It or its node was not heard of since a session ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Its services.
    pub services: Vec<ServiceView>,
    /// The peer it was learned from; absent for this host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The route's next hop; absent for this host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
    /// AS hops on the way; 0 for this host's own.
    pub distance: u32,
    /// `REGION.ZONE` of its node, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The address is announced by several nodes on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anycast: bool,
}

/// A service at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Its namespace.
    pub namespace: Namespace,
    /// `ready`, `draining`, `maintenance` or `failing`.
    pub state: ServiceState,
    /// Its ports.
    pub ports: Vec<PortView>,
    /// A lower one is used first.
    pub priority: u8,
    /// Its share among those of one priority.
    pub weight: u16,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortView {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortName>,
    /// `tcp`, `udp`, `sctp` or a number.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

impl EndpointView {
    /// What the catalog holds, with its node's name.
    pub fn new(catalog: &Catalog, address: IpAddr, held: &Held) -> Self {
        let plane = &held.announcement.plane;
        let node = plane.key.and_then(|key| catalog.node(key));
        let services = held.announcement.record().map(|record| &record.services);
        Self {
            address,
            key: plane.key.map(|key| key.to_string()),
            node: node.and_then(|node| Some(node.name()?.to_string())),
            believed: held.verdict.is_believed(),
            why: why(held),
            stale: held.verdict == Verdict::Stale,
            services: services
                .into_iter()
                .flatten()
                .map(ServiceView::new)
                .collect(),
            peer: match &held.facts.from {
                Source::Local => None,
                Source::Peer(peer) => Some(peer.to_string()),
            },
            next_hop: held.facts.next_hop,
            distance: held.facts.distance,
            zone: plane
                .zone
                .map(|zone| format!("{}.{}", zone.region, zone.zone)),
            anycast: plane.flags.anycast,
        }
    }
}

impl ServiceView {
    /// A service as it stands in a record.
    pub fn new(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            namespace: service.namespace.clone(),
            state: service.state,
            ports: service.ports.iter().map(PortView::new).collect(),
            priority: service.priority,
            weight: service.weight,
            tags: service.tags.iter().cloned().collect(),
        }
    }

    /// `web.default`.
    pub fn id(&self) -> ServiceId {
        ServiceId::new(&self.name, &self.namespace)
    }
}

impl PortView {
    /// A port as it stands in a record.
    pub fn new(port: &Port) -> Self {
        Self {
            name: port.name.clone(),
            protocol: port.protocol,
            port: port.number,
        }
    }
}

/// `http=8080/tcp`, or `8080/tcp` for a port without a name.
impl std::fmt::Display for PortView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// What speaks against an endpoint.
fn why(held: &Held) -> Option<String> {
    let verdict = match held.verdict {
        Verdict::Believed => None,
        Verdict::Stale => {
            Some("not heard of since a session ended: answered with when nothing else is left")
        }
        Verdict::NoCarrier => Some(
            "the carrier of its node is not here: the node is gone, or a router between does not pass it on",
        ),
        Verdict::NoKey => Some("its route does not say which node it is of"),
    };
    match (&held.announcement.record, verdict) {
        (RecordStatus::Broken(error), _) => Some(format!("its record cannot be used: {error}")),
        (RecordStatus::Absent | RecordStatus::Present(_), verdict) => verdict.map(str::to_owned),
    }
}

/// A full name, or one in the namespace `default`.
pub(super) fn service(text: &str) -> Result<ServiceId, ApiError> {
    text.parse()
        .map_err(|error: wayleave_discovery::names::NameError| {
            ApiError::new(Code::BadRequest, error.to_string())
                .hint("write NAME or NAME.NAMESPACE, such as web.default")
        })
}

/// What is looked for.
struct Filter {
    service: Option<ServiceId>,
    /// A node's name or key.
    node: Option<String>,
}

impl Filter {
    /// The endpoint as it is shown, if it is to be.
    fn view(
        &self,
        catalog: &Catalog,
        keys: Option<&BTreeSet<NodeKey>>,
        address: IpAddr,
        held: &Held,
    ) -> Option<EndpointView> {
        if let Some(keys) = keys
            && !held
                .announcement
                .plane
                .key
                .is_some_and(|key| keys.contains(&key))
        {
            return None;
        }
        let Some(wanted) = &self.service else {
            return Some(EndpointView::new(catalog, address, held));
        };
        let services = &held.announcement.record()?.services;
        if !services.iter().any(|service| is(service, wanted)) {
            return None;
        }
        let mut view = EndpointView::new(catalog, address, held);
        view.services.retain(|service| service.id() == *wanted);
        Some(view)
    }

    /// The keys of the nodes that are meant.
    fn keys(&self, catalog: &Catalog) -> Option<BTreeSet<NodeKey>> {
        let node = self.node.as_deref()?;
        let named = catalog.nodes_named(node).map(|node| node.carrier.key);
        let key = (node.len() == 16)
            .then(|| u64::from_str_radix(node, 16).ok().map(NodeKey))
            .flatten();
        Some(named.chain(key).collect())
    }
}

fn is(service: &Service, wanted: &ServiceId) -> bool {
    service.name.as_str() == wanted.name() && service.namespace.as_str() == wanted.namespace()
}

pub(super) fn routes() -> Router<OwnerContext> {
    Router::new().route("/v1/endpoints", get(page))
}

async fn page(
    State(context): State<OwnerContext>,
    RawQuery(query): RawQuery,
) -> Result<Json<EndpointPage>, ApiError> {
    let names = context.running_names()?;
    let parameters: EndpointParameters = super::parameters(query.as_deref())?;
    let limit = page_limit(parameters.limit)?;
    let filter = Filter {
        service: parameters.service.as_deref().map(service).transpose()?,
        node: parameters.node,
    };
    if let Some(address) = parameters.address {
        let catalog = names.read();
        let keys = filter.keys(&catalog);
        let held = catalog.endpoint(address).iter();
        return Ok(Json(EndpointPage {
            index: catalog.index(),
            endpoints: held
                .filter_map(|held| filter.view(&catalog, keys.as_ref(), address, held))
                .collect(),
            next: None,
        }));
    }
    let mut page = EndpointPage {
        index: names.read().index(),
        endpoints: Vec::new(),
        next: None,
    };
    let mut after = parameters.after;
    // Addresses on the page: those of one address are never parted.
    let mut addresses = 0;
    loop {
        let at_end = {
            let catalog = names.read();
            let keys = filter.keys(&catalog);
            let mut looked_at = 0;
            for (address, held) in catalog.endpoints(after).take(STRETCH) {
                looked_at += 1;
                let views = held
                    .iter()
                    .filter_map(|held| filter.view(&catalog, keys.as_ref(), address, held));
                let before = page.endpoints.len();
                page.endpoints.extend(views);
                addresses += usize::from(page.endpoints.len() > before);
                if addresses > limit {
                    page.endpoints.truncate(before);
                    page.next = after;
                    break;
                }
                after = Some(address);
            }
            looked_at < STRETCH
        };
        if at_end || page.next.is_some() {
            return Ok(Json(page));
        }
        tokio::task::yield_now().await;
    }
}
