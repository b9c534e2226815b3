//! `/v1/fib`: what is desired of the kernel's routes and what it has, in pages.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    routing::get,
};
use serde::{Deserialize, Serialize};
use wayleave_bgp_core::Family;
use wayleave_netlink::Prefix;

use super::{ApiError, Code, OwnerContext, page_limit};
use crate::fib::{FibHandle, Slot, Status, Trouble};

/// More slots never start at one address: every length of IPv6 at the two metrics of ours, and room.
const SLOTS_OF_AN_ADDRESS: usize = 4 * 129;

/// What may stand behind the question mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FibParameters {
    /// Only `ipv4` or `ipv6`; both by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Only this prefix; an address stands for the prefix that covers it best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// With `prefix`: what lies inside it too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub longer: bool,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Routes in a page: 1 to 10,000, by default 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One page, in the order of family, address, length and metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FibPage {
    /// The routes.
    pub routes: Vec<FibRoute>,
    /// Where to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A route that is desired, or there and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FibRoute {
    /// The destination.
    pub prefix: Prefix,
    /// The metric.
    pub metric: u32,
    /// Whose desire counts: `attach` (a container here), `block` or `bgp`; absent: a route of ours
    /// that nobody has claimed since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What is in the kernel; absent: nothing of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
    /// Why that is not what is desired, or not what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleView>,
}

/// What a route in the kernel does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// `unicast`, `blackhole` ...
    pub kind: String,
    /// Where packets go; none for a blackhole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<NextHopView>,
    /// The nexthop object it goes through (`ip nexthop`); the next hops are those of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nexthop: Option<u32>,
    /// Preferred source address of packets of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Path MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// One next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopView {
    /// The router; absent for what is directly connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The interface by name; its number when it has gone meanwhile.
    pub dev: String,
    /// Its share of the traffic.
    pub weight: u16,
}

/// What is wrong with a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleView {
    /// `unresolved`, `connected`, `occupied`, `shadowed`, `contested` or `refused`.
    pub kind: String,
    /// In words.
    pub why: String,
}

/// A place in the order of routes as text: `10.1.0.0/24@50`.
struct Cursor(Slot);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.0.prefix, self.0.metric)
    }
}

impl FromStr for Cursor {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let slot = text.split_once('@').and_then(|(prefix, metric)| {
            Some(Slot {
                prefix: prefix.parse().ok()?,
                metric: metric.parse().ok()?,
            })
        });
        slot.map(Self).ok_or_else(|| {
            bad(format!(
                "`after`: expected `next` of the page before, found {text:?}"
            ))
        })
    }
}

/// Which routes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Family(Family),
    Exactly(Prefix),
    Inside(Prefix),
    Covering(IpAddr),
}

impl FibParameters {
    fn wanted(&self) -> Result<Wanted, ApiError> {
        let wanted = match (&self.prefix, self.family) {
            (None, _) if self.longer => return Err(bad("`longer` goes with `prefix`".to_owned())),
            (None, None) => Wanted::All,
            (None, Some(family)) => Wanted::Family(family),
            (Some(text), _) => match text.parse::<IpAddr>() {
                Ok(address) if self.longer => Wanted::Inside(Prefix::host(address)),
                Ok(address) => Wanted::Covering(address),
                Err(_) => {
                    let prefix = exact(text)?;
                    if self.longer {
                        Wanted::Inside(prefix)
                    } else {
                        Wanted::Exactly(prefix)
                    }
                }
            },
        };
        let is_ipv6 = match wanted {
            Wanted::All | Wanted::Family(_) => return Ok(wanted),
            Wanted::Exactly(prefix) | Wanted::Inside(prefix) => prefix.is_ipv6(),
            Wanted::Covering(address) => address.is_ipv6(),
        };
        match self.family {
            Some(family) if is_ipv6 != (family == Family::Ipv6Unicast) => Err(bad(format!(
                "{} is not {family}",
                self.prefix.as_deref().unwrap_or_default()
            ))),
            Some(_) | None => Ok(wanted),
        }
    }
}

impl Wanted {
    /// The place in the order of routes after which those that are wanted begin.
    fn begin(&self) -> Option<Slot> {
        match *self {
            Self::All | Self::Family(Family::Ipv4Unicast) => None,
            Self::Family(Family::Ipv6Unicast) => before(Ipv6Addr::UNSPECIFIED.into()),
            Self::Exactly(prefix) | Self::Inside(prefix) => before(prefix.addr()),
            Self::Covering(address) => before(address),
        }
    }

    /// Whether a route from there on comes before the end of what is wanted.
    fn reaches(&self, slot: &Slot) -> bool {
        match *self {
            Self::All | Self::Family(Family::Ipv6Unicast) => true,
            Self::Family(Family::Ipv4Unicast) => !slot.prefix.is_ipv6(),
            Self::Exactly(prefix) | Self::Inside(prefix) => prefix.contains(slot.prefix.addr()),
            Self::Covering(address) => slot.prefix.contains(address),
        }
    }

    /// Whether it is wanted. What starts at the address of a prefix and covers it sorts before it.
    fn has(&self, slot: &Slot) -> bool {
        match *self {
            Self::Inside(prefix) => slot.prefix.len() >= prefix.len(),
            Self::Exactly(prefix) => slot.prefix == prefix,
            Self::All | Self::Family(_) | Self::Covering(_) => true,
        }
    }
}

/// A prefix without bits past its length: what is asked for is what was meant.
fn exact(text: &str) -> Result<Prefix, ApiError> {
    let strict: Result<wayleave_bgp_core::Prefix, _> = text.parse();
    strict.map_err(|error| bad(error.to_string()))?;
    text.parse()
        .map_err(|error: wayleave_netlink::PrefixError| bad(error.to_string()))
}

pub(super) fn routes() -> Router<OwnerContext> {
    Router::new().route("/v1/fib", get(page))
}

async fn page(
    State(context): State<OwnerContext>,
    RawQuery(query): RawQuery,
) -> Result<Json<FibPage>, ApiError> {
    let fib = context.running_fib()?;
    let parameters: FibParameters = super::parameters(query.as_deref())?;
    let limit = page_limit(parameters.limit)?;
    let after = parameters
        .after
        .as_deref()
        .map(str::parse::<Cursor>)
        .transpose()?;
    let after = after.map(|cursor| cursor.0);
    let wanted = parameters.wanted()?;
    match wanted {
        Wanted::Exactly(prefix) => return Ok(Json(whole(at(fib, prefix).await?))),
        Wanted::Covering(address) => return Ok(Json(whole(covering(fib, address).await?))),
        Wanted::All | Wanted::Family(_) | Wanted::Inside(_) => {}
    }
    // One more than wanted tells whether there is a next page.
    let spare = SLOTS_OF_AN_ADDRESS;
    let statuses = ask(fib, after.max(wanted.begin()), limit + 1 + spare).await?;
    let mut statuses = statuses
        .into_iter()
        .take_while(|status| wanted.reaches(&status.slot))
        .filter(|status| wanted.has(&status.slot));
    let page: Vec<Status> = statuses.by_ref().take(limit).collect();
    let next = statuses
        .next()
        .and(page.last())
        .map(|last| Cursor(last.slot).to_string());
    Ok(Json(FibPage {
        routes: views(page),
        next,
    }))
}

/// All slots of a prefix.
async fn at(fib: &FibHandle, prefix: Prefix) -> Result<Vec<Status>, ApiError> {
    answered(fib.status_at(vec![prefix]).await)
}

/// All slots of the longest prefix that covers an address.
async fn covering(fib: &FibHandle, address: IpAddr) -> Result<Vec<Status>, ApiError> {
    let lengths = (0..=Prefix::host(address).len()).rev();
    let prefixes = lengths
        .map(|len| Prefix::new(address, len).expect("invariant: no longer than the address"));
    answered(fib.status_at(prefixes.collect()).await)
}

/// A place in the order of routes directly before everything that starts at an address.
fn before(address: IpAddr) -> Option<Slot> {
    let before: IpAddr = match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_sub(1)?).into(),
        IpAddr::V6(v6) => match v6.to_bits().checked_sub(1) {
            Some(bits) => Ipv6Addr::from_bits(bits).into(),
            None => Ipv4Addr::BROADCAST.into(),
        },
    };
    Some(Slot {
        prefix: Prefix::host(before),
        metric: u32::MAX,
    })
}

async fn ask(fib: &FibHandle, after: Option<Slot>, limit: usize) -> Result<Vec<Status>, ApiError> {
    answered(fib.status(after, limit).await)
}

fn answered(statuses: Option<Vec<Status>>) -> Result<Vec<Status>, ApiError> {
    statuses.ok_or_else(|| {
        ApiError::new(
            Code::Unavailable,
            "the routes of the kernel are no longer kept",
        )
        .hint("the agent is stopping; see its log if it is not")
    })
}

fn whole(statuses: Vec<Status>) -> FibPage {
    FibPage {
        routes: views(statuses),
        next: None,
    }
}

fn views(statuses: Vec<Status>) -> Vec<FibRoute> {
    let mut interfaces = Interfaces::default();
    statuses
        .into_iter()
        .map(|status| interfaces.view(status))
        .collect()
}

/// Names of interfaces, asked for once in a page.
#[derive(Default)]
struct Interfaces(BTreeMap<u32, String>);

impl Interfaces {
    fn view(&mut self, status: Status) -> FibRoute {
        let installed = status.installed.map(|content| Installed {
            kind: content.kind.to_string(),
            next_hops: content
                .next_hops
                .iter()
                .map(|hop| NextHopView {
                    gateway: hop.gateway,
                    dev: self.name(hop.ifindex),
                    weight: hop.weight,
                })
                .collect(),
            nexthop: content.nexthop.map(|id| id.0),
            source: content.source,
            mtu: content.mtu.map(std::num::NonZeroU32::get),
        });
        FibRoute {
            prefix: status.slot.prefix,
            metric: status.slot.metric,
            owner: status.owner.map(|owner| owner.to_string()),
            installed,
            trouble: status.trouble.map(|trouble| TroubleView {
                kind: kind(&trouble).to_owned(),
                why: trouble.to_string(),
            }),
        }
    }

    fn name(&mut self, ifindex: u32) -> String {
        let name = self.0.entry(ifindex);
        name.or_insert_with(|| interface_name(ifindex)).clone()
    }
}

/// An interface by name; by number when it has gone.
pub(super) fn interface_name(ifindex: u32) -> String {
    // From the kernel's memory: it does not block.
    nix::net::if_::if_indextoname(ifindex)
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| format!("#{ifindex}"))
}

fn kind(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Unresolved(_) => "unresolved",
        Trouble::Connected => "connected",
        Trouble::Occupied(_) => "occupied",
        Trouble::Shadowed { .. } => "shadowed",
        Trouble::Contested { .. } => "contested",
        Trouble::Refused(_) => "refused",
    }
}

fn bad(message: String) -> ApiError {
    ApiError::new(Code::BadRequest, message)
}
