//! What the speaker hands to the other owners in the agent, and what they hand to it.
//!
//! A feed is a full picture, then changes. It holds at most one entry per prefix: a reader that
//! lags gets the latest state, never a backlog.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    attributes::{Attributes, NextHop},
    types::{Community, Family, LargeCommunity, Prefix},
};

/// Where a route came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteSource {
    /// This speaker originated it.
    Local,
    /// A peer, by name.
    Peer(Arc<str>),
}

/// One way to reach a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedPath {
    /// Whose path it is.
    pub source: RouteSource,
    /// Where packets go.
    pub next_hop: NextHop,
    /// The interface of the session, when the peer is configured on one (link-local next hops).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Arc<str>>,
}

/// The best route to a prefix, with the paths as good as it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedRoute {
    /// The attributes of the best path, after import policy.
    pub attributes: Arc<Attributes>,
    /// The best path first, then its equals up to the multipath limit; never empty.
    pub paths: Vec<FeedPath>,
    /// The peer of the best path is gone and its routes are kept for it (RFC 4724).
    pub stale: bool,
}

/// Where the packets of the best route to a prefix go, and nothing else of it: what a kernel
/// wants to know of a table of a million routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forwarding {
    /// The best path first, then its equals up to the multipath limit; never empty. Routes that go
    /// the same way mostly share one allocation: see [`Arc::ptr_eq`].
    pub paths: Arc<[FeedPath]>,
}

/// A prefix now has this best route, or none. `R` is what the subscriber is told of it:
/// [`FeedRoute`] or [`Forwarding`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteChange<R = FeedRoute> {
    /// The prefix.
    pub prefix: Prefix,
    /// Its best route; `None`: gone.
    pub route: Option<R>,
}

/// `+ 10.0.0.0/8 via 192.0.2.1 path 65001 65002`, with each of its next hops, or `- 10.0.0.0/8`.
impl fmt::Display for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(route) = &self.route else {
            return write!(f, "- {}", self.prefix);
        };
        write!(f, "+ {} via", self.prefix)?;
        for path in &route.paths {
            write!(f, " {}", path.next_hop.addr)?;
        }
        match route.attributes.as_path_text() {
            path if path.is_empty() => f.write_str(", no path"),
            path => write!(f, " path {path}"),
        }
    }
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedEvent<R = FeedRoute> {
    /// Prefixes whose best route changed, at most a few thousand at a time.
    Changes(Vec<RouteChange<R>>),
    /// Everything known when the subscription was made, and everything the peers sent before
    /// their End-of-RIB (or failed to send in time), has been handed over for this family.
    /// Before this nothing may be deleted for want of a route.
    InSync(Family),
}

/// A route of our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origination {
    /// The prefix.
    pub prefix: Prefix,
    /// Of several for one prefix the one with the highest rank is announced; the others wait for it
    /// to be withdrawn. So owners need not know of each other.
    #[serde(default)]
    pub rank: u8,
    /// The next hop peers are told; `None`: our address on each session.
    pub next_hop: Option<NextHop>,
    /// MULTI_EXIT_DISC, if any.
    pub med: Option<u32>,
    /// LOCAL_PREF on iBGP sessions; 100 when unset.
    pub local_pref: Option<u32>,
    /// Communities.
    pub communities: Vec<Community>,
    /// Large communities; sent sorted and without repetition.
    pub large_communities: Vec<LargeCommunity>,
}

impl Origination {
    /// A route with our own address as next hop and no communities.
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            rank: 0,
            next_hop: None,
            med: None,
            local_pref: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
        }
    }
}
