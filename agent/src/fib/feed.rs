//! Best routes of the speaker as desires.

use std::sync::Arc;

use wayleave_bgp_core::{
    self as bgp,
    feed::{FeedPath, Forwarding, RouteSource},
};
use wayleave_netlink::{Family, Prefix};

use super::way::{Gateway, Wish};

/// Turns paths into wishes. Routes that go the same way share their paths, so that mostly the answer
/// is known.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    recent: Vec<(Arc<[FeedPath]>, Option<Wish>)>,
    oldest: usize,
}

impl Wishes {
    /// So many are remembered.
    const RECENT: usize = 16;

    /// What a route desires of the kernel: nothing when it is gone, or when it is one of our own,
    /// which its owner desires himself.
    pub(super) fn of(&mut self, route: Option<&Forwarding>) -> Option<&Wish> {
        let paths = &route?.paths;
        let known = |(recent, _): &(Arc<[FeedPath]>, Option<Wish>)| Arc::ptr_eq(recent, paths);
        let at = match self.recent.iter().position(known) {
            Some(at) => at,
            None => {
                let remembered = (Arc::clone(paths), wish(paths));
                if self.recent.len() < Self::RECENT {
                    self.recent.push(remembered);
                    self.recent.len() - 1
                } else {
                    self.oldest = (self.oldest + 1) % Self::RECENT;
                    self.recent[self.oldest] = remembered;
                    self.oldest
                }
            }
        };
        self.recent[at].1.as_ref()
    }
}

fn wish(paths: &[FeedPath]) -> Option<Wish> {
    let local = |path: &FeedPath| path.source == RouteSource::Local;
    if paths.first().is_none_or(local) {
        return None;
    }
    let others = paths.iter().filter(|path| !local(path));
    let mut gateways: Vec<_> = others
        .map(|path| Gateway {
            addr: path.next_hop.addr,
            link_local: path.next_hop.link_local,
            interface: path.interface.clone(),
        })
        .collect();
    // Which of them is best changes nothing for the kernel.
    gateways.sort_unstable();
    gateways.dedup();
    Some(Wish::Via(gateways))
}

/// The prefix as the kernel's routes have it.
pub(super) fn prefix(prefix: bgp::Prefix) -> Prefix {
    Prefix::new(prefix.addr(), prefix.len())
        .expect("invariant: both types bound the length by the family")
}

/// The family as the kernel's routes have it.
pub(super) fn family(family: bgp::Family) -> Family {
    match family {
        bgp::Family::Ipv4Unicast => Family::V4,
        bgp::Family::Ipv6Unicast => Family::V6,
    }
}
