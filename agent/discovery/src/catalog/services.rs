//! The index of services: who offers it, best first.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use super::Held;
use crate::{
    codec::{Announcement, NodeKey, Service, State},
    judge::{Facts, Verdict},
    names::ServiceId,
};

/// How good an instance is for an answer; a later variant is worse.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Ready, and its node is here.
    Ready,
    /// Asked to finish: for an answer only when nothing is ready.
    Draining,
    /// Ready when last heard of; its node has not been heard since.
    StaleReady,
    /// Draining when last heard of.
    StaleDraining,
    /// In maintenance or failing: never in an answer.
    Out,
}

impl Standing {
    /// Whether it may stand in an answer.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        !matches!(self, Self::Out)
    }

    const fn of(state: State, verdict: Verdict) -> Self {
        match (state, verdict) {
            (State::Ready, Verdict::Believed) => Self::Ready,
            (State::Draining, Verdict::Believed) => Self::Draining,
            (State::Ready, Verdict::Stale) => Self::StaleReady,
            (State::Draining, Verdict::Stale) => Self::StaleDraining,
            (State::Maintenance | State::Failing, _) | (_, Verdict::NoCarrier | Verdict::NoKey) => {
                Self::Out
            }
        }
    }
}

/// An instance of a service, as it is answered with.
#[derive(Copy, Clone, Debug)]
pub struct Instance<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The key of its node.
    pub key: NodeKey,
    /// How good it is.
    pub standing: Standing,
    /// The service there.
    pub service: &'a Service,
    /// Everything its address's route says.
    pub announcement: &'a Announcement,
    /// What the routing table knows of it.
    pub facts: &'a Facts,
}

/// Where an instance is found: ordered best first, so that an answer takes from the front.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) standing: Standing,
    pub(crate) distance: u32,
    pub(crate) address: IpAddr,
    pub(crate) key: NodeKey,
    /// Which service of the address's record.
    pub(crate) ordinal: u16,
}

/// The members an address's path contributes: none when it is not believed or has no record.
pub(super) fn members(
    address: IpAddr,
    key: NodeKey,
    held: &Held,
) -> impl Iterator<Item = (Member, &Service)> {
    let services = match held.announcement.record() {
        Some(record) if held.verdict.is_believed() => record.services.as_slice(),
        Some(_) | None => &[],
    };
    (0..=u16::MAX).zip(services).map(move |(ordinal, service)| {
        let standing = Standing::of(service.state, held.verdict);
        let distance = held.facts.distance;
        (
            Member {
                standing,
                distance,
                address,
                key,
                ordinal,
            },
            service,
        )
    })
}

/// Services by full name.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    by_id: BTreeMap<ServiceId, Members>,
    /// How many services each namespace has.
    namespaces: BTreeMap<Box<str>, usize>,
    /// The index at which a service went last.
    forgotten: u64,
}

#[derive(Clone, Debug, Default)]
struct Members {
    set: BTreeSet<Member>,
    changed: u64,
}

impl Services {
    pub(super) fn insert(&mut self, id: ServiceId, member: Member, index: u64) {
        let members = match self.by_id.entry(id) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(free) => {
                *self
                    .namespaces
                    .entry(free.key().namespace().into())
                    .or_default() += 1;
                free.insert(Members::default())
            }
        };
        members.set.insert(member);
        members.changed = index;
    }

    pub(super) fn remove(&mut self, id: &ServiceId, member: &Member, index: u64) {
        let Some(members) = self.by_id.get_mut(id) else {
            return;
        };
        members.set.remove(member);
        members.changed = index;
        if members.set.is_empty() {
            self.by_id.remove(id);
            self.forgotten = index;
            if let Some(count) = self.namespaces.get_mut(id.namespace()) {
                *count -= 1;
                if *count == 0 {
                    self.namespaces.remove(id.namespace());
                }
            }
        }
    }

    pub(super) fn members(&self, service: &str) -> Option<&BTreeSet<Member>> {
        self.by_id.get(service).map(|members| &members.set)
    }

    pub(super) fn changed(&self, service: &str) -> u64 {
        self.by_id
            .get(service)
            .map_or(self.forgotten, |members| members.changed)
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &ServiceId> {
        self.by_id.keys()
    }
}
