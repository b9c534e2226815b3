//! Best routes of the speaker as desires.

use wayleave_bgp_core::feed::{FeedPath, RouteChange, RouteSource};
use wayleave_netlink::{Family, Prefix};

use super::way::{Gateway, Wish};

/// The prefix of a change, and what it desires of the kernel: nothing when the route is gone, or
/// when it is one of our own, which its owner desires himself.
pub(super) fn desire(change: &RouteChange) -> (Prefix, Option<Wish>) {
    let prefix = Prefix::new(change.prefix.addr(), change.prefix.len())
        .expect("invariant: both types bound the length by the family");
    let Some(route) = &change.route else {
        return (prefix, None);
    };
    if matches!(
        route.paths.first(),
        None | Some(FeedPath {
            source: RouteSource::Local,
            ..
        })
    ) {
        return (prefix, None);
    }
    let gateway = |path: &FeedPath| match path.source {
        RouteSource::Local => None,
        RouteSource::Peer(_) => Some(Gateway {
            addr: path.next_hop.addr,
            link_local: path.next_hop.link_local,
            interface: path.interface.clone(),
        }),
    };
    (
        prefix,
        Some(Wish::Via(route.paths.iter().filter_map(gateway).collect())),
    )
}

/// The family as the kernel's routes have it.
pub(super) fn family(family: wayleave_bgp_core::Family) -> Family {
    match family {
        wayleave_bgp_core::Family::Ipv4Unicast => Family::V4,
        wayleave_bgp_core::Family::Ipv6Unicast => Family::V6,
    }
}
