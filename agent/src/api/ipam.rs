//! `/v1/ipam`: which addresses are this host's to give, who has them, and whether all agree.

use std::{net::IpAddr, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_bgp_core::{
    Prefix,
    view::{RibKind, RouteQuery, RouteView},
};
use wayleave_discovery::{codec::NodeKey, community};
use wayleave_ipam::{BlockState, BootId, Cidr, Lease, Origin, Owner, Usage};
use wayleave_netlink::Lookup;

use super::{
    ApiError, Code, Context, NamesContext, OwnerContext, endpoints::EndpointView, page_limit,
};
use crate::{
    attach::{Attachment, Attachments},
    config::{self, Config},
    problem::Problem,
    rfc3339,
    store::Host,
};

/// Address space of this host, with a page of its leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamView {
    /// This host.
    pub node: String,
    /// Pools as configured.
    pub pools: Vec<PoolView>,
    /// Blocks of this host and how full they are.
    pub blocks: Vec<BlockView>,
    /// Leases by address: one page.
    pub leases: Vec<LeaseView>,
    /// All leases there are.
    pub lease_count: usize,
    /// The `after` of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<IpAddr>,
}

/// A pool as configured; the same on all hosts of the fabric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Its prefixes.
    pub cidr: Vec<Prefix>,
    /// What is never given out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Prefix>,
    /// Where it stands: `FILE:LINE:COLUMN`.
    pub origin: String,
}

/// A block of this host. Numbers are of addresses and end at 2^64 - 1: an IPv6 /64 holds one more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its prefix.
    pub cidr: Cidr,
    /// The pool it is of.
    pub pool: String,
    /// How it came to this host.
    pub origin: Origin,
    /// Whether new leases may come from it.
    pub state: BlockState,
    /// Addresses that can be leased.
    pub size: u64,
    /// Of these, leased.
    pub used: u64,
    /// Of these, free.
    pub free: u64,
    /// Addresses in it that are never leased.
    pub excluded: u64,
}

/// An address in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The address.
    pub address: IpAddr,
    /// The container, as its runtime calls it.
    pub container: String,
    /// The interface inside it.
    pub interface: String,
    /// The network it was given for.
    pub network: String,
    /// The pool it came from.
    pub pool: String,
    /// Since when (RFC 3339); absent for a lease of an earlier boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Seconds since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<u64>,
}

/// Containers' interfaces: one page, by container and interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentList {
    /// The interfaces.
    pub attachments: Vec<AttachmentView>,
    /// The `after` of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A container's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// The container, as its runtime calls it.
    pub container: String,
    /// The interface inside it.
    pub interface: String,
    /// The network it is in.
    pub network: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The host's end.
    pub host_interface: String,
    /// The hardware address of the host's end.
    pub host_mac: String,
    /// The hardware address of the container's end.
    pub container_mac: String,
    /// MTU of both ends in bytes.
    pub mtu: u32,
    /// Its namespace, as the runtime named it.
    pub netns: String,
}

/// What the audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamCheck {
    /// Everything that does not agree.
    pub problems: Vec<Problem>,
    /// Interfaces that were looked at.
    pub attachments: usize,
    /// Leases that were looked at.
    pub leases: usize,
}

/// Everything this host knows about an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The address.
    pub address: IpAddr,
    /// What it is, in one word, for machines.
    pub kind: AddressKind,
    /// The same in one sentence.
    pub summary: String,
    /// The pool it lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The block of this host it lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockView>,
    /// Its lease here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
    /// The container's interface here that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<AttachmentView>,
    /// The best route that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteView>,
    /// How the kernel of this host would send to it now; absent: it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<WayView>,
    /// The node that announces that route, where routes carry their node's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    /// What is announced at the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointView>,
}

/// How the kernel would send to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayView {
    /// The interface by name.
    pub dev: String,
    /// The router; absent when it is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The address of this host it would send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    /// A container here has it.
    Container,
    /// It is leased here, and no container has it: `check` tells more.
    Lease,
    /// It lies in a block of this host and nobody has it.
    Free,
    /// It lies in a block of this host and is never given out.
    Excluded,
    /// It is one of this host's own.
    Host,
    /// It belongs to another node.
    Remote,
    /// It lies in a pool, and no route leads to it: no living host has a block with it.
    Unclaimed,
    /// A route leads to it, and it lies in no pool.
    Outside,
    /// Nothing is known of it.
    Unknown,
}

/// A node of the fabric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRef {
    /// Its key, 16 hexadecimal digits.
    pub key: String,
    /// Its name, once its carrier is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LeasePage {
    after: Option<IpAddr>,
    limit: Option<u32>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AttachmentPage {
    after: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    address: IpAddr,
}

impl BlockView {
    fn new(usage: &Usage) -> Self {
        let number = |addresses: u128| u64::try_from(addresses).unwrap_or(u64::MAX);
        Self {
            cidr: usage.block.cidr,
            pool: usage.block.pool.clone(),
            origin: usage.block.origin,
            state: usage.block.state,
            size: number(usage.usable),
            used: number(usage.usable.saturating_sub(usage.free)),
            free: number(usage.free),
            excluded: number(usage.excluded),
        }
    }
}

impl LeaseView {
    fn new(lease: &Lease, clock: Option<&BootClock>) -> Self {
        let age = clock.and_then(|clock| clock.age(lease));
        Self {
            address: lease.address,
            container: lease.owner.container.clone(),
            interface: lease.owner.interface.clone(),
            network: lease.network.clone(),
            pool: lease.pool.clone(),
            since: age.map(rfc3339::ago),
            since_seconds: age.map(|age| age.as_secs()),
        }
    }
}

impl AttachmentView {
    fn new(attachment: &Attachment) -> Self {
        let Owner {
            container,
            interface,
        } = attachment.owner.clone();
        Self {
            container,
            interface,
            network: attachment.network.clone(),
            addresses: attachment.addresses.clone(),
            host_interface: attachment.host_name.clone(),
            host_mac: attachment.host_mac.to_string(),
            container_mac: attachment.container_mac.to_string(),
            mtu: attachment.mtu,
            netns: attachment.netns.clone(),
        }
    }

    /// Where it stands among the others: neither part can hold a slash.
    fn key(&self) -> String {
        format!("{}/{}", self.container, self.interface)
    }
}

/// The clock leases are stamped with: since the boot that runs, suspensions included.
struct BootClock {
    boot: BootId,
    now: Duration,
}

impl BootClock {
    /// None when the kernel does not say which boot this is: ages are left out then.
    fn now() -> Option<Self> {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?;
        Some(Self {
            boot: Host::this().ok()?.boot,
            now: Duration::from(now),
        })
    }

    fn age(&self, lease: &Lease) -> Option<Duration> {
        let since = Duration::from_nanos(lease.since.0);
        (lease.alive.boot == self.boot).then(|| self.now.saturating_sub(since))
    }
}

pub(super) fn routes() -> Router<OwnerContext> {
    Router::new()
        .route("/v1/ipam", get(show))
        .route("/v1/ipam/attachments", get(attachments))
        .route("/v1/ipam/check", get(check))
        .route("/v1/ipam/explain", get(explain))
}

async fn show(
    State(context): State<OwnerContext>,
    Extension(agent): Extension<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<IpamView>, ApiError> {
    let attachments = context.running_attachments()?;
    let page: LeasePage = super::parameters(query.as_deref())?;
    let limit = page_limit(page.limit)?;
    let config = agent.config.borrow().clone();
    let clock = BootClock::now();
    let all = attachments.leases();
    let lease_count = all.len();
    let mut rest = all
        .iter()
        .filter(|lease| page.after.is_none_or(|after| lease.address > after));
    let leases: Vec<LeaseView> = rest
        .by_ref()
        .take(limit)
        .map(|lease| LeaseView::new(lease, clock.as_ref()))
        .collect();
    let next = rest.next().and(leases.last()).map(|last| last.address);
    Ok(Json(IpamView {
        node: context.node.clone(),
        pools: config.pools.iter().map(pool).collect(),
        blocks: attachments.usage().iter().map(BlockView::new).collect(),
        leases,
        lease_count,
        next,
    }))
}

fn pool(pool: &config::Pool) -> PoolView {
    PoolView {
        name: pool.name.value.clone(),
        cidr: pool.cidr.value.clone(),
        exclude: pool.exclude.value.clone(),
        origin: pool.name.origin.to_string(),
    }
}

async fn attachments(
    State(context): State<OwnerContext>,
    RawQuery(query): RawQuery,
) -> Result<Json<AttachmentList>, ApiError> {
    let page: AttachmentPage = super::parameters(query.as_deref())?;
    let limit = page_limit(page.limit)?;
    let all = context.running_attachments()?.list();
    let after = page
        .after
        .map(|after| match after.split_once('/') {
            Some((container, interface)) => Ok(Owner::new(container, interface)),
            None => Err(ApiError::new(
                Code::BadRequest,
                format!("`after`: expected CONTAINER/INTERFACE, found {after:?}"),
            )),
        })
        .transpose()?;
    let mut rest = all
        .iter()
        .filter(|attachment| after.as_ref().is_none_or(|after| attachment.owner > *after));
    let attachments: Vec<_> = rest.by_ref().take(limit).map(AttachmentView::new).collect();
    let next = rest.next().and(attachments.last()).map(AttachmentView::key);
    Ok(Json(AttachmentList { attachments, next }))
}

async fn check(State(context): State<OwnerContext>) -> Result<Json<IpamCheck>, ApiError> {
    let attachments = context.running_attachments()?.clone();
    // The kernel is asked, which blocks.
    let audit = tokio::task::spawn_blocking(move || {
        let (interfaces, leases) = (attachments.list().len(), attachments.leases().len());
        attachments.audit().map(|problems| IpamCheck {
            problems,
            attachments: interfaces,
            leases,
        })
    });
    let audit = audit
        .await
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    audit.map(Json).map_err(|error| {
        ApiError::new(
            Code::Unavailable,
            "the kernel could not be compared with the records",
        )
        .cause(error)
        .hint("try again; if it stays, see the agent's log")
    })
}

async fn explain(
    State(context): State<OwnerContext>,
    Extension(agent): Extension<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, ApiError> {
    let Question { address } = super::parameters(query.as_deref())?;
    let config = agent.config.borrow().clone();
    let route = best_route(&agent, address).await?;
    let way = kernel_way(address).await;
    let known = Known::of(&context, &config, address, route);
    Ok(Json(Explanation {
        way,
        ..known.explain(&context.node)
    }))
}

/// Asks the kernel. It is one line of the explanation: without an answer the others stand.
async fn kernel_way(address: IpAddr) -> Option<WayView> {
    let answer = match Lookup::spawn() {
        Ok(kernel) => kernel.path(address).await,
        Err(error) => Err(error),
    };
    let path = answer.unwrap_or_else(|error| {
        tracing::debug!(%address, "the kernel does not say where it would send: {error}");
        None
    })?;
    Some(WayView {
        dev: super::fib::interface_name(path.ifindex),
        gateway: path.gateway,
        source: path.source,
    })
}

async fn best_route(agent: &Context, address: IpAddr) -> Result<Option<RouteView>, ApiError> {
    let prefix = Prefix::host(address);
    let query = RouteQuery {
        prefix: Some(prefix),
        covering: true,
        ..RouteQuery::all(RibKind::Loc, prefix.family())
    };
    let page = agent
        .speaker
        .routes(query)
        .await?
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(page.routes.into_iter().find(|route| route.best))
}

/// All that is known of an address, gathered before anything is concluded from it.
struct Known {
    address: IpAddr,
    is_host: bool,
    /// The pool it lies in, and by which of its prefixes.
    pool: Option<(String, Prefix)>,
    is_excluded: bool,
    block: Option<BlockView>,
    lease: Option<LeaseView>,
    attachment: Option<AttachmentView>,
    route: Option<RouteView>,
    node: Option<NodeRef>,
    /// The node is known by this address, not by a container's.
    is_node: bool,
    endpoints: Vec<EndpointView>,
}

impl Known {
    fn of(
        context: &OwnerContext,
        config: &Config,
        address: IpAddr,
        route: Option<RouteView>,
    ) -> Self {
        let covers = |prefix: &Prefix| prefix.contains(Prefix::host(address));
        let pool = config.pools.iter().find_map(|pool| {
            let cidr = pool.cidr.value.iter().find(|cidr| covers(cidr))?;
            Some((pool, *cidr))
        });
        let (block, lease, attachment) = match &context.attachments {
            Some(attachments) => here(attachments, address),
            None => (None, None, None),
        };
        let mut known = Self {
            address,
            is_host: config.node.address.value.contains(&address),
            pool: pool.map(|(pool, cidr)| (pool.name.value.clone(), cidr)),
            is_excluded: pool.is_some_and(|(pool, _)| pool.exclude.value.iter().any(covers)),
            block,
            lease,
            attachment,
            route,
            node: None,
            is_node: false,
            endpoints: Vec::new(),
        };
        if let Some(names) = &context.names {
            known.ask_catalog(names, config);
        }
        known
    }

    fn ask_catalog(&mut self, names: &NamesContext, config: &Config) {
        let catalog = names.read();
        self.endpoints = catalog
            .endpoint(self.address)
            .iter()
            .map(|held| EndpointView::new(&catalog, self.address, held))
            .collect();
        let at = catalog.nodes_at(self.address).next();
        self.is_node = at.is_some();
        let key = at.map(|node| node.carrier.key).or_else(|| {
            let route = self.route.as_ref()?;
            let communities: Vec<_> = route
                .attributes
                .large_communities
                .iter()
                .map(|c| community::LargeCommunity::new(c.global, c.local1, c.local2))
                .collect();
            NodeKey::find(config::discovery_number(config)?, &communities)
        });
        self.node = key.map(|key| NodeRef {
            key: key.to_string(),
            name: catalog
                .node(key)
                .and_then(|node| Some(node.name()?.to_string())),
        });
    }

    fn explain(self, host: &str) -> Explanation {
        let (kind, summary) = self.conclude(host);
        Explanation {
            address: self.address,
            kind,
            summary,
            pool: self.pool.map(|(pool, _)| pool),
            block: self.block,
            lease: self.lease,
            attachment: self.attachment,
            route: self.route,
            way: None,
            node: self.node,
            endpoints: self.endpoints,
        }
    }

    fn conclude(&self, host: &str) -> (AddressKind, String) {
        let address = self.address;
        if let Some(has) = &self.attachment {
            let (container, interface) = (&has.container, &has.interface);
            let summary =
                format!("{address} is {interface} of container {container} on this host ({host})");
            return (AddressKind::Container, summary);
        }
        if let Some(lease) = &self.lease {
            let container = &lease.container;
            let summary = format!(
                "{address} is leased to container {container} on this host ({host}), which is not attached with it"
            );
            return (AddressKind::Lease, summary);
        }
        if self.is_host {
            let summary = format!("{address} is an address of this host ({host}) itself");
            return (AddressKind::Host, summary);
        }
        if let Some(block) = &self.block {
            let cidr = block.cidr;
            return if self.is_excluded {
                let summary = format!(
                    "{address} is excluded from pool {} and never given out, though it lies in block {cidr} of this host ({host})",
                    block.pool
                );
                (AddressKind::Excluded, summary)
            } else {
                let summary = format!(
                    "{address} is free: it lies in block {cidr} of this host ({host}), and no container has it"
                );
                (AddressKind::Free, summary)
            };
        }
        self.conclude_from_route()
    }

    fn conclude_from_route(&self) -> (AddressKind, String) {
        let address = self.address;
        let Some(route) = &self.route else {
            return match &self.pool {
                Some((pool, _)) => {
                    let summary = format!(
                        "{address} lies in pool {pool}, and no route leads to it: no host that can be reached has a block with it"
                    );
                    (AddressKind::Unclaimed, summary)
                }
                None => {
                    let summary = format!(
                        "nothing is known of {address}: it lies in no pool, and no route of the fabric covers it"
                    );
                    (AddressKind::Unknown, summary)
                }
            };
        };
        let prefix = route.prefix;
        let from = route.peer.as_ref().map_or_else(
            || "from this host".to_owned(),
            |peer| format!("learned from {peer}"),
        );
        let node = self.node.as_ref().map(|node| match &node.name {
            Some(name) => format!("node {name}"),
            None => format!("the node with key {} (its carrier is not here)", node.key),
        });
        match (node, &self.pool) {
            (Some(node), _) if self.is_node => {
                let summary = format!("{address} is an address of {node}; route {prefix}, {from}");
                (AddressKind::Remote, summary)
            }
            (Some(node), _) => {
                let summary =
                    format!("{address} belongs to {node}, which announces {prefix}; {from}");
                (AddressKind::Remote, summary)
            }
            // A default route, or an aggregate of the whole pool, claims nothing in it.
            (None, Some((pool, cidr))) if prefix.contains(*cidr) => {
                let summary = format!(
                    "{address} lies in pool {pool} ({cidr}), and no block with it is announced; packets to it follow {prefix}, {from}"
                );
                (AddressKind::Unclaimed, summary)
            }
            (None, Some(_)) => {
                let summary = format!(
                    "{address} belongs to the host that announces {prefix}, {from}; the route does not say which one that is"
                );
                (AddressKind::Remote, summary)
            }
            (None, None) => {
                let summary = format!(
                    "{address} lies in no pool of the fabric; packets to it follow {prefix}, {from}"
                );
                (AddressKind::Outside, summary)
            }
        }
    }
}

type Here = (Option<BlockView>, Option<LeaseView>, Option<AttachmentView>);

/// What this host has to do with an address.
fn here(attachments: &Attachments, address: IpAddr) -> Here {
    let usage = attachments.usage();
    let block = usage
        .iter()
        .find(|usage| usage.block.cidr.contains(address))
        .map(BlockView::new);
    let clock = BootClock::now();
    let leases = attachments.leases();
    let lease = leases.iter().find(|lease| lease.address == address);
    let attachment = attachments
        .list()
        .iter()
        .find(|attachment| attachment.addresses.contains(&address))
        .map(AttachmentView::new);
    (
        block,
        lease.map(|lease| LeaseView::new(lease, clock.as_ref())),
        attachment,
    )
}
