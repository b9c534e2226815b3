//! What the whole fabric announces, ready to be asked: an incremental view of the routing table.
//!
//! The feed of best paths says, address by address, which paths there are now
//! ([`replace`](Catalog::replace)); each call costs in proportion to that address, never to the catalog. Paths are
//! judged ([`judge`](crate::judge)) when they come and again when the carrier of their node comes, goes stale or goes.
//!
//! Every change raises the [`index`](Catalog::index). A watcher remembers the index of what it saw
//! ([`service_index`](Catalog::service_index)) and looks again when it is higher.

mod nodes;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

pub use self::{
    nodes::Node,
    services::{Instance, Standing},
};
use self::{
    nodes::Nodes,
    services::{Member, Services},
};
use crate::{
    codec::{Announcement, Carrier, NodeKey, RecordStatus},
    judge::{Facts, Verdict, judge},
    names::ServiceId,
};

/// What one path of an address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The address is an endpoint. Replicas share attributes, so callers decode once and share, too.
    Endpoint(Arc<Announcement>),
    /// The address is the carrier of a node.
    Carrier(Arc<Carrier>),
}

/// One path of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// What it says.
    pub statement: Statement,
    /// What the routing table knows of it.
    pub facts: Facts,
}

/// A path of an endpoint, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it says.
    pub announcement: Arc<Announcement>,
    /// What the routing table knows of it.
    pub facts: Facts,
    /// What became of it.
    pub verdict: Verdict,
}

/// How much the catalog holds.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Paths of endpoints, by address and node.
    pub paths: usize,
    /// Those that are believed.
    pub believed: usize,
    /// Those that are believed and stale.
    pub stale: usize,
    /// Those that wait for a carrier.
    pub without_carrier: usize,
    /// Those without a key.
    pub without_key: usize,
    /// Those whose record cannot be used.
    pub broken: usize,
}

/// The catalog.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    index: u64,
    addresses: BTreeMap<IpAddr, Vec<Held>>,
    services: Services,
    nodes: Nodes,
    counts: Counts,
    is_growing: bool,
}

impl Catalog {
    /// An empty catalog that holds all there is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty catalog whose first picture is under way: what is not in it may exist all the same.
    #[must_use]
    pub fn growing() -> Self {
        Self {
            is_growing: true,
            ..Self::default()
        }
    }

    /// Says that the first picture is complete. From now on what is not in it does not exist.
    pub fn complete(&mut self) {
        self.is_growing = false;
    }

    /// Whether what is not in it does not exist.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.is_growing
    }

    /// Takes all paths of an address as they are now; none: the address is gone. Returns whether anything changed.
    ///
    /// Several paths with one key are one endpoint heard twice: the freshest and nearest stands for it.
    pub fn replace(&mut self, address: IpAddr, paths: impl IntoIterator<Item = Path>) -> bool {
        let (mut endpoints, mut carriers) = (Vec::new(), Vec::new());
        for Path { statement, facts } in paths {
            match statement {
                Statement::Endpoint(announcement) => endpoints.push((announcement, facts)),
                Statement::Carrier(carrier) => carriers.push((carrier, facts)),
            }
        }
        endpoints.sort_by(|a, b| (a.0.plane.key, a.1.rank()).cmp(&(b.0.plane.key, b.1.rank())));
        endpoints.dedup_by_key(|(announcement, _)| announcement.plane.key);
        // The carriers first: one that comes with its endpoint is there when that is judged.
        let carriers_changed = self.replace_carriers(address, carriers);
        let held = endpoints
            .into_iter()
            .map(|(announcement, facts)| {
                let verdict = self.judge(announcement.plane.key, &facts);
                Held {
                    announcement,
                    facts,
                    verdict,
                }
            })
            .collect();
        self.replace_endpoints(address, held) || carriers_changed
    }

    /// Takes the one path of an address: [`replace`](Self::replace) for tables that keep only the best.
    pub fn upsert(&mut self, address: IpAddr, statement: Statement, facts: Facts) -> bool {
        self.replace(address, [Path { statement, facts }])
    }

    /// Forgets an address: [`replace`](Self::replace) with nothing.
    pub fn remove(&mut self, address: IpAddr) -> bool {
        self.replace(address, [])
    }

    /// Goes up with every change.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The index at which the answer for a service changed last, also when it went.
    ///
    /// For a service that is not there it is that of the last one that went: higher than needed at worst, so that a
    /// watcher looks once too often and never misses a change.
    #[must_use]
    pub fn service_index(&self, service: &str) -> u64 {
        self.services.changed(service)
    }

    /// How much it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// All paths of endpoints by address, also those not believed, after a cursor: for lists in pieces.
    pub fn endpoints(
        &self,
        after: Option<IpAddr>,
    ) -> impl Iterator<Item = (IpAddr, &[Held])> + use<'_> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.addresses
            .range((from, Unbounded))
            .map(|(address, held)| (*address, &**held))
    }

    /// The paths of one address.
    #[must_use]
    pub fn endpoint(&self, address: IpAddr) -> &[Held] {
        self.addresses.get(&address).map_or(&[], |held| held)
    }

    /// The full names of all services, in order.
    pub fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.ids()
    }

    /// Whether a service of this full name (`web.default`) is announced at all, in whatever state.
    #[must_use]
    pub fn has_service(&self, service: &str) -> bool {
        self.services.members(service).is_some()
    }

    /// Whether there is a service in this namespace.
    #[must_use]
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.services.has_namespace(namespace)
    }

    /// The instances of a service (`web.default`), best first: by standing, then distance, then address.
    pub fn resolve(&self, service: &str) -> impl Iterator<Item = Instance<'_>> {
        self.services
            .members(service)
            .into_iter()
            .flatten()
            .filter_map(|member| self.instance(member))
    }

    /// The node with this key.
    #[must_use]
    pub fn node(&self, key: NodeKey) -> Option<Node<'_>> {
        self.nodes.node(key)
    }

    /// The nodes with this name; more than one when two machines were given the same.
    pub fn nodes_named(&self, name: &str) -> impl Iterator<Item = Node<'_>> {
        self.nodes.named(name)
    }

    /// The nodes that are reached at this address.
    pub fn nodes_at(&self, address: IpAddr) -> impl Iterator<Item = Node<'_>> {
        self.nodes.at(address)
    }

    fn judge(&self, key: Option<NodeKey>, facts: &Facts) -> Verdict {
        judge(key, facts, self.nodes.presence(key))
    }

    fn replace_carriers(&mut self, address: IpAddr, carriers: Vec<(Arc<Carrier>, Facts)>) -> bool {
        let Some(affected) = self.nodes.replace(address, carriers) else {
            return false;
        };
        self.index += 1;
        for key in affected {
            let addresses: Vec<IpAddr> = self.nodes.addresses_of(key).collect();
            for address in addresses {
                let mut held = self.addresses.get(&address).cloned().unwrap_or_default();
                for h in &mut held {
                    h.verdict = self.judge(h.announcement.plane.key, &h.facts);
                }
                self.replace_endpoints(address, held);
            }
        }
        true
    }

    fn replace_endpoints(&mut self, address: IpAddr, held: Vec<Held>) -> bool {
        if self.endpoint(address) == held {
            return false;
        }
        self.index += 1;
        let before = self.addresses.remove(&address).unwrap_or_default();
        for h in &before {
            self.unlink(address, h);
        }
        for h in &held {
            self.link(address, h);
        }
        if !held.is_empty() {
            self.addresses.insert(address, held);
        }
        true
    }

    fn link(&mut self, address: IpAddr, held: &Held) {
        self.count(held, true);
        let Some(key) = held.announcement.plane.key else {
            return;
        };
        self.nodes.link(key, address);
        for (member, service) in services::members(address, key, held) {
            self.services.insert(service.id(), member, self.index);
        }
    }

    fn unlink(&mut self, address: IpAddr, held: &Held) {
        self.count(held, false);
        let Some(key) = held.announcement.plane.key else {
            return;
        };
        self.nodes.unlink(key, address);
        for (member, service) in services::members(address, key, held) {
            self.services.remove(&service.id(), &member, self.index);
        }
    }

    fn count(&mut self, held: &Held, up: bool) {
        let counts = &mut self.counts;
        let broken = matches!(held.announcement.record, RecordStatus::Broken(_));
        let of_verdict = match held.verdict {
            Verdict::Believed => None,
            Verdict::Stale => Some(&mut counts.stale),
            Verdict::NoCarrier => Some(&mut counts.without_carrier),
            Verdict::NoKey => Some(&mut counts.without_key),
        };
        let believed = held.verdict.is_believed().then_some(&mut counts.believed);
        let broken = broken.then_some(&mut counts.broken);
        for count in [Some(&mut counts.paths), of_verdict, believed, broken]
            .into_iter()
            .flatten()
        {
            *count = if up { *count + 1 } else { *count - 1 };
        }
    }

    fn instance(&self, member: &Member) -> Option<Instance<'_>> {
        let held = self.addresses.get(&member.address)?;
        let held = held
            .iter()
            .find(|h| h.announcement.plane.key == Some(member.key))?;
        let service = held
            .announcement
            .record()?
            .services
            .get(usize::from(member.ordinal))?;
        Some(Instance {
            address: member.address,
            key: member.key,
            standing: member.standing,
            service,
            announcement: &held.announcement,
            facts: &held.facts,
        })
    }

    pub(crate) fn members(&self, service: &str) -> Option<&BTreeSet<Member>> {
        self.services.members(service)
    }

    pub(crate) fn instance_of(&self, member: &Member) -> Option<Instance<'_>> {
        self.instance(member)
    }
}

#[cfg(test)]
pub(crate) mod tests;
