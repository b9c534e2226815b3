//! What the attachments tell the other owners.

use std::collections::BTreeSet;

use wayleave_ipam::Cidr;
use wayleave_netlink::{Prefix, Route};

/// The way out of the attachments, to the FIB and to the BGP speaker.
///
/// Called without a lock held, from threads that block; an implementation hands the message over
/// and returns. Calls about one prefix come in order.
pub trait Outlet: Send + Sync {
    /// The kernel has the route of a container's address, put there by us: the FIB should keep it
    /// there. `None`: the FIB should forget it; it is about to be deleted with its interface.
    fn local_route(&self, prefix: Prefix, route: Option<Route>);

    /// These prefixes are to be announced, and no others: blocks, each with a blackhole route in
    /// the kernel for its unallocated rest, and single addresses whose block is not announced.
    fn originate(&self, prefixes: &BTreeSet<Cidr>);
}

/// An outlet that leads nowhere: for an agent that neither repairs routes nor announces anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Outlet for Silent {
    fn local_route(&self, _: Prefix, _: Option<Route>) {}

    fn originate(&self, _: &BTreeSet<Cidr>) {}
}
