//! The index of nodes: their carriers, names and addresses, and which endpoints carry their key.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    codec::{Carrier, NodeKey},
    judge::{Facts, Presence, Source},
    names::HostName,
};

/// A node that has a carrier here.
#[derive(Copy, Clone, Debug)]
pub struct Node<'a> {
    /// What it says about itself.
    pub carrier: &'a Carrier,
    /// The address of its carrier.
    pub carrier_address: IpAddr,
    /// What the routing table knows of the carrier.
    pub facts: &'a Facts,
}

impl<'a> Node<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Option<&'a HostName> {
        self.carrier.node.host.as_ref()
    }

    /// Where it is reached.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        self.carrier.node.addresses.iter().copied()
    }

    /// Whether it has not been heard of since its session ended.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.facts.stale && self.facts.from != Source::Local
    }
}

#[derive(Clone, Debug, Default)]
struct Entry {
    /// By the address of the carrier; more than one where a node has one for each family.
    carriers: BTreeMap<IpAddr, (Arc<Carrier>, Facts)>,
    /// Of endpoints that carry the key; twice linked cannot happen, an address holds one path for each key.
    endpoints: BTreeSet<IpAddr>,
}

impl Entry {
    fn presence(&self) -> Presence {
        let best = self.carriers.values().map(|(_, facts)| match facts {
            Facts {
                from: Source::Local,
                ..
            }
            | Facts { stale: false, .. } => Presence::Present,
            Facts { .. } => Presence::Stale,
        });
        best.min().unwrap_or(Presence::Absent)
    }

    /// The carrier that speaks for the node: a fresh one before a stale one, then by address.
    fn node(&self) -> Option<Node<'_>> {
        let nodes = self
            .carriers
            .iter()
            .map(|(address, (carrier, facts))| Node {
                carrier,
                carrier_address: *address,
                facts,
            });
        nodes.min_by_key(|node| (node.is_stale(), node.carrier_address))
    }
}

/// Nodes by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    by_key: BTreeMap<NodeKey, Entry>,
    /// The keys of the carriers at an address.
    at_carrier: BTreeMap<IpAddr, BTreeSet<NodeKey>>,
    by_name: BTreeMap<HostName, BTreeSet<NodeKey>>,
    by_address: BTreeMap<IpAddr, BTreeSet<NodeKey>>,
}

impl Nodes {
    /// Takes the carriers at an address as they are now. None when nothing changed; otherwise the keys whose
    /// presence changed, whose endpoints are to be judged again.
    pub(super) fn replace(
        &mut self,
        address: IpAddr,
        carriers: Vec<(Arc<Carrier>, Facts)>,
    ) -> Option<Vec<NodeKey>> {
        let mut now: BTreeMap<NodeKey, (Arc<Carrier>, Facts)> = BTreeMap::new();
        for (carrier, facts) in carriers {
            match now.entry(carrier.key) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert((carrier, facts));
                }
                std::collections::btree_map::Entry::Occupied(mut found) => {
                    if facts.rank() < found.get().1.rank() {
                        found.insert((carrier, facts));
                    }
                }
            }
        }
        let mut keys = self.at_carrier.get(&address).cloned().unwrap_or_default();
        keys.extend(now.keys());
        let mut changed = false;
        let mut affected = Vec::new();
        for key in keys {
            let entry = self.by_key.entry(key).or_default();
            let new = now.remove(&key);
            if entry.carriers.get(&address) == new.as_ref() {
                continue;
            }
            changed = true;
            let presence = entry.presence();
            self.set_carrier(key, address, new);
            if self.presence(Some(key)) != presence {
                affected.push(key);
            }
        }
        changed.then_some(affected)
    }

    pub(super) fn presence(&self, key: Option<NodeKey>) -> Presence {
        key.and_then(|key| self.by_key.get(&key))
            .map_or(Presence::Absent, Entry::presence)
    }

    pub(super) fn link(&mut self, key: NodeKey, endpoint: IpAddr) {
        self.by_key
            .entry(key)
            .or_default()
            .endpoints
            .insert(endpoint);
    }

    pub(super) fn unlink(&mut self, key: NodeKey, endpoint: IpAddr) {
        if let Some(entry) = self.by_key.get_mut(&key) {
            entry.endpoints.remove(&endpoint);
            self.forget_empty(key);
        }
    }

    pub(super) fn addresses_of(&self, key: NodeKey) -> impl Iterator<Item = IpAddr> + use<'_> {
        self.by_key
            .get(&key)
            .into_iter()
            .flat_map(|entry| entry.endpoints.iter().copied())
    }

    pub(super) fn node(&self, key: NodeKey) -> Option<Node<'_>> {
        self.by_key.get(&key)?.node()
    }

    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = Node<'_>> {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|key| self.node(*key))
    }

    pub(super) fn at(&self, address: IpAddr) -> impl Iterator<Item = Node<'_>> {
        self.by_address
            .get(&address)
            .into_iter()
            .flatten()
            .filter_map(|key| self.node(*key))
    }

    /// Sets or removes a carrier, and moves the node's name and addresses to what its best carrier says.
    fn set_carrier(&mut self, key: NodeKey, at: IpAddr, new: Option<(Arc<Carrier>, Facts)>) {
        let entry = self.by_key.entry(key).or_default();
        if let Some(node) = entry.node() {
            if let Some(name) = node.name() {
                remove_from(&mut self.by_name, name, key);
            }
            for address in node.addresses() {
                remove_from(&mut self.by_address, &address, key);
            }
        }
        match new {
            Some(carrier) => {
                entry.carriers.insert(at, carrier);
                self.at_carrier.entry(at).or_default().insert(key);
            }
            None => {
                entry.carriers.remove(&at);
                remove_from(&mut self.at_carrier, &at, key);
            }
        }
        if let Some(node) = entry.node() {
            if let Some(name) = node.name() {
                self.by_name.entry(name.clone()).or_default().insert(key);
            }
            for address in node.addresses() {
                self.by_address.entry(address).or_default().insert(key);
            }
        }
        self.forget_empty(key);
    }

    fn forget_empty(&mut self, key: NodeKey) {
        if self
            .by_key
            .get(&key)
            .is_some_and(|e| e.carriers.is_empty() && e.endpoints.is_empty())
        {
            self.by_key.remove(&key);
        }
    }
}

fn remove_from<K: Ord>(map: &mut BTreeMap<K, BTreeSet<NodeKey>>, at: &K, key: NodeKey) {
    if let Some(keys) = map.get_mut(at) {
        keys.remove(&key);
        if keys.is_empty() {
            map.remove(at);
        }
    }
}
