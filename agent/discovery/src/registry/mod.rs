//! The services of this host, and what is to be announced for each of its addresses.
//!
//! Registrations come from files, the API and containers; health comes from checks; an operator drains or takes out.
//! The registry merges all of it into one [`Endpoint`] per address and tells the differences to what it told before:
//! a change replaces, it never withdraws first.
//!
//! # Whose addresses
//! An address is announced as a host route, which draws its packets here. So a service is announced only at an address
//! that a container of this host has, in a block of this host ([`Places`]): the registry is told which those are
//! ([`address_taken`](Registry::address_taken), [`address_gone`](Registry::address_gone)). An address of a block that no
//! container has is nobody's, whatever process of the host itself may answer there, and a request to register it is
//! refused. Services go with the container they were registered for, as the next one that gets the address knows
//! nothing of them. Only what stands in a file waits for its address: suspended, that is not announced, until a container
//! has it (again).

mod places;
mod registration;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

pub use places::{NotHere, Places};
pub use registration::{Registration, RegistrationError};

use crate::{
    codec::{Codec, EncodeError, Endpoint, NodeKey, Record, Scope, Service, State, Zone},
    health::Health,
    names::{HostName, InstanceId},
};

/// Who registered a service, and so who may change it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A file of services; it is read again at each start and is not stored.
    File(String),
    /// The API or the command line.
    Api,
    /// The labels of a container, by its id.
    Container(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.escape_debug()),
            Self::Api => f.write_str("the API"),
            Self::Container(id) => write!(f, "container {}", id.escape_debug()),
        }
    }
}

/// What an operator wants of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Nothing special.
    #[default]
    Normal,
    /// No new connections.
    Draining,
    /// Taken out, and why.
    Maintenance(String),
}

/// What all endpoints of this node have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// The node's key.
    pub key: NodeKey,
    /// Where it is.
    pub zone: Option<Zone>,
    /// How far its endpoints may travel.
    pub scope: Option<Scope>,
    /// Its cluster.
    pub cluster: Option<u32>,
    /// Classes for the operator's filters.
    pub classes: BTreeSet<u32>,
    /// The node's name, when it is to travel with each endpoint; by default it travels on the carrier only.
    pub host: Option<HostName>,
    /// How many addresses may be announced: what remains of the smallest prefix budget of the peers.
    pub max_addresses: usize,
}

impl NodeSettings {
    /// The settings of a node that says no more than its key.
    #[must_use]
    pub fn new(key: NodeKey) -> Self {
        Self {
            key,
            zone: None,
            scope: None,
            cluster: None,
            classes: BTreeSet::new(),
            host: None,
            max_addresses: 1_000,
        }
    }
}

/// What a registration did.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is new.
    Created,
    /// It replaced another one of the same id.
    Replaced,
    /// It was there already.
    Unchanged,
}

/// Why a registration is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody else's.
    #[error(
        "instance `{instance}` was registered by {owner}; change it there, or choose another id"
    )]
    Owned {
        /// The instance.
        instance: InstanceId,
        /// Who registered it.
        owner: Origin,
    },
    /// At an address that is not for services of this host.
    #[error("`{instance}` cannot be announced: {reason}; {}", .reason.remedy())]
    NotHere {
        /// The instance.
        instance: InstanceId,
        /// Which address, and why not.
        reason: NotHere,
    },
    /// Over the budget of a route.
    #[error("`{instance}` cannot be announced at {address}: {source}")]
    TooLarge {
        /// The instance.
        instance: InstanceId,
        /// The address.
        address: IpAddr,
        /// By how much.
        source: EncodeError,
    },
    /// Over the budget of prefixes.
    #[error(
        "this host would announce {wanted} endpoint addresses, {} more than the {limit} its peers take from it: raise \
         `prefix_budget` on both sides, or use fewer addresses", .wanted - .limit
    )]
    TooManyAddresses {
        /// Addresses with it.
        wanted: usize,
        /// The limit.
        limit: usize,
    },
}

/// A service as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What was registered.
    pub registration: Registration,
    /// Who registered it.
    pub origin: Origin,
    /// What the operator wants.
    pub admin: Admin,
    /// What the checks say, address by address. An address that is not in here is suspended: no container has it.
    pub health: BTreeMap<IpAddr, Health>,
}

impl Instance {
    /// The state it is announced with at an address; none when it is not announced there.
    #[must_use]
    pub fn state(&self, address: IpAddr) -> Option<State> {
        match (self.health.get(&address)?, &self.admin) {
            (Health::Starting, _) => None,
            (Health::Failing, _) => Some(State::Failing),
            (Health::Passing, Admin::Maintenance(_)) => Some(State::Maintenance),
            (Health::Passing, Admin::Draining) => Some(State::Draining),
            (Health::Passing, Admin::Normal) => Some(State::Ready),
        }
    }
}

/// What became of an instance that was stored.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is as it was.
    Whole,
    /// It has lost addresses whose containers are gone: store it again.
    Less,
    /// All its containers are gone, and so is it: store it no longer.
    Gone,
}

/// What went with an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Instances that lost the address, or went because it was their last.
    pub lost: Vec<InstanceId>,
    /// Instances of files, which wait for the address.
    pub suspended: Vec<InstanceId>,
}

/// A change of what is to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// For which address.
    pub address: IpAddr,
    /// What to announce; none: withdraw.
    pub endpoint: Option<Endpoint>,
}

/// The services of this host.
#[derive(Clone, Debug)]
pub struct Registry {
    codec: Codec,
    node: NodeSettings,
    places: Places,
    /// Addresses that containers of this host have.
    taken: BTreeSet<IpAddr>,
    instances: BTreeMap<InstanceId, Instance>,
    addresses: BTreeMap<IpAddr, BTreeSet<InstanceId>>,
    told: BTreeMap<IpAddr, Endpoint>,
    dirty: BTreeSet<IpAddr>,
}

impl Registry {
    /// A registry without services.
    #[must_use]
    pub fn new(codec: Codec, node: NodeSettings, places: Places) -> Self {
        Self {
            codec,
            node,
            places,
            taken: BTreeSet::new(),
            instances: BTreeMap::new(),
            addresses: BTreeMap::new(),
            told: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Takes a registration; the same again changes nothing.
    ///
    /// An instance with checks starts as [`Health::Starting`], one without as passing. One that replaces another keeps
    /// the health of the addresses both have, so that a new tag is no outage.
    pub fn register(
        &mut self,
        registration: Registration,
        origin: Origin,
    ) -> Result<Registered, RegisterError> {
        let id = registration.instance.clone();
        let before = self.instances.get(&id);
        if let Some(before) = before {
            if before.origin != origin {
                return Err(RegisterError::Owned {
                    instance: id,
                    owner: before.origin.clone(),
                });
            }
            if before.registration == registration {
                return Ok(Registered::Unchanged);
            }
        }
        let (admin, known) = before.map_or_else(Default::default, |before| {
            (before.admin.clone(), before.health.clone())
        });
        let replaces = before.is_some();
        self.check_places(&registration, &origin)?;
        self.check_budgets(&registration)?;
        self.insert(registration, origin, admin, &known);
        Ok(if replaces {
            Registered::Replaced
        } else {
            Registered::Created
        })
    }

    /// Takes back an instance that was stored, with the health and the wish it had. What no container has any more is
    /// left out; what may not be announced for another reason is taken and suspended, so that somebody can see it.
    pub fn restore(&mut self, instance: Instance) -> Result<Restored, RegisterError> {
        let Instance {
            mut registration,
            origin,
            admin,
            health,
        } = instance;
        if let Some(before) = self.instances.get(&registration.instance) {
            return Err(RegisterError::Owned {
                instance: registration.instance,
                owner: before.origin.clone(),
            });
        }
        let all = registration.addresses.len();
        if !matches!(origin, Origin::File(_)) {
            registration
                .addresses
                .retain(|address| self.taken.contains(address));
        }
        if registration.addresses.is_empty() {
            return Ok(Restored::Gone);
        }
        let is_whole = registration.addresses.len() == all;
        self.check_budgets(&registration)?;
        self.insert(registration, origin, admin, &health);
        Ok(if is_whole {
            Restored::Whole
        } else {
            Restored::Less
        })
    }

    /// Puts an instance back as [`instance`](Self::instance) showed it, in the place of what has become of it: undoes a
    /// change.
    pub fn put_back(&mut self, instance: Instance) {
        let Instance {
            registration,
            origin,
            admin,
            health,
        } = instance;
        self.insert(registration, origin, admin, &health);
    }

    /// Removes an instance and says what it was.
    pub fn deregister(&mut self, id: &InstanceId) -> Option<Instance> {
        let instance = self.instances.remove(id)?;
        for address in &instance.registration.addresses {
            self.unlink(*address, id);
        }
        Some(instance)
    }

    /// A container of this host has this address now. Returns the instances that waited for it: check them.
    pub fn address_taken(&mut self, address: IpAddr) -> Vec<InstanceId> {
        self.taken.insert(address);
        self.settle(address)
    }

    /// The container that had this address is gone. What was registered for it goes with it, unless it stands in a file.
    pub fn address_gone(&mut self, address: IpAddr) -> Gone {
        self.taken.remove(&address);
        let mut gone = Gone::default();
        let ids = self.addresses.get(&address).cloned().unwrap_or_default();
        for id in ids {
            let Entry::Occupied(mut found) = self.instances.entry(id.clone()) else {
                continue;
            };
            let instance = found.get_mut();
            if let Origin::File(_) = instance.origin {
                gone.suspended.push(id);
                continue;
            }
            instance.health.remove(&address);
            instance.registration.addresses.remove(&address);
            if instance.registration.addresses.is_empty() {
                found.remove();
            }
            self.unlink(address, &id);
            gone.lost.push(id);
        }
        self.settle(address);
        gone
    }

    /// Takes other blocks and reserved addresses. Returns the instances of which addresses are suspended for it or no
    /// longer are: check them where they are announced.
    pub fn set_places(&mut self, places: Places) -> Vec<InstanceId> {
        self.places = places;
        let addresses: Vec<IpAddr> = self.addresses.keys().copied().collect();
        let changed: BTreeSet<InstanceId> = addresses
            .into_iter()
            .flat_map(|address| self.settle(address))
            .collect();
        changed.into_iter().collect()
    }

    /// What is registered and not announced because its address is not for it, and why.
    pub fn suspended(&self) -> impl Iterator<Item = (&InstanceId, NotHere)> {
        self.instances.iter().flat_map(move |(id, instance)| {
            let addresses = instance.registration.addresses.iter();
            addresses.filter_map(move |address| {
                self.places
                    .refusal(*address, &self.taken)
                    .map(|why| (id, why))
            })
        })
    }

    /// Takes what the checks of an instance say about one of its addresses. False when there is no such instance or
    /// address any more.
    pub fn set_health(&mut self, id: &InstanceId, address: IpAddr, health: Health) -> bool {
        let Some(found) = self
            .instances
            .get_mut(id)
            .and_then(|instance| instance.health.get_mut(&address))
        else {
            return false;
        };
        if std::mem::replace(found, health) != health {
            self.dirty.insert(address);
        }
        true
    }

    /// Takes what the operator wants of an instance. False when there is no such instance.
    pub fn set_admin(&mut self, id: &InstanceId, admin: Admin) -> bool {
        let Some(instance) = self.instances.get_mut(id) else {
            return false;
        };
        instance.admin = admin;
        self.dirty.extend(&instance.registration.addresses);
        true
    }

    /// Whether [`poll_change`](Self::poll_change) is worth calling; it may still have nothing to tell.
    #[must_use]
    pub fn may_have_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The codec it checks budgets with, which is the one to announce with.
    #[must_use]
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The next difference between what is to be announced and what was told; none when all is told.
    pub fn poll_change(&mut self) -> Option<Change> {
        while let Some(address) = self.dirty.pop_first() {
            let endpoint = self.desired(address);
            let changed = match &endpoint {
                Some(endpoint) => {
                    self.told.insert(address, endpoint.clone()).as_ref() != Some(endpoint)
                }
                None => self.told.remove(&address).is_some(),
            };
            if changed {
                return Some(Change { address, endpoint });
            }
        }
        None
    }

    /// What is to be announced for an address now.
    #[must_use]
    pub fn desired(&self, address: IpAddr) -> Option<Endpoint> {
        let mut services = Vec::new();
        for id in self.addresses.get(&address)? {
            let instance = self.instances.get(id)?;
            if let Some(state) = instance.state(address) {
                services.push(instance.registration.service(state));
            }
        }
        (!services.is_empty()).then(|| self.endpoint(services))
    }

    /// All instances by id.
    pub fn instances(&self) -> impl Iterator<Item = (&InstanceId, &Instance)> {
        self.instances.iter()
    }

    /// One instance.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id)
    }

    fn insert(
        &mut self,
        registration: Registration,
        origin: Origin,
        admin: Admin,
        known: &BTreeMap<IpAddr, Health>,
    ) {
        let id = registration.instance.clone();
        self.deregister(&id);
        let health = registration
            .addresses
            .iter()
            .filter(|address| self.is_ours(**address))
            .map(|address| match known.get(address) {
                Some(health) if !registration.checks.is_empty() => (*address, *health),
                _ => (*address, first_health(&registration)),
            })
            .collect();
        for address in &registration.addresses {
            self.addresses
                .entry(*address)
                .or_default()
                .insert(id.clone());
            self.dirty.insert(*address);
        }
        self.instances.insert(
            id,
            Instance {
                registration,
                origin,
                admin,
                health,
            },
        );
    }

    /// Whether services may be announced at an address now.
    fn is_ours(&self, address: IpAddr) -> bool {
        self.places.refusal(address, &self.taken).is_none()
    }

    /// Makes the instances at an address suspended or not, as it is with the address; returns those that changed.
    fn settle(&mut self, address: IpAddr) -> Vec<InstanceId> {
        let is_ours = self.is_ours(address);
        let mut changed = Vec::new();
        for id in self.addresses.get(&address).into_iter().flatten() {
            let Some(instance) = self.instances.get_mut(id) else {
                continue;
            };
            if is_ours == instance.health.contains_key(&address) {
                continue;
            }
            if is_ours {
                let first = first_health(&instance.registration);
                instance.health.insert(address, first);
            } else {
                instance.health.remove(&address);
            }
            self.dirty.insert(address);
            changed.push(id.clone());
        }
        changed
    }

    /// Whether a registration is for addresses of this host. One in a file may wait for its container.
    fn check_places(
        &self,
        registration: &Registration,
        origin: &Origin,
    ) -> Result<(), RegisterError> {
        let mut refusals = registration
            .addresses
            .iter()
            .filter_map(|address| self.places.refusal(*address, &self.taken));
        let waits = |reason: &NotHere| {
            matches!((reason, origin), (NotHere::Vacant { .. }, Origin::File(_)))
        };
        match refusals.find(|reason| !waits(reason)) {
            Some(reason) => Err(RegisterError::NotHere {
                instance: registration.instance.clone(),
                reason,
            }),
            None => Ok(()),
        }
    }

    /// Whether every address of a registration can be announced with all services that will then be there,
    /// whatever their health: a service must not fail to be announced when it comes up.
    fn check_budgets(&self, registration: &Registration) -> Result<(), RegisterError> {
        let added = registration
            .addresses
            .iter()
            .filter(|a| !self.addresses.contains_key(a))
            .count();
        let freed = self
            .instances
            .get(&registration.instance)
            .map_or(0, |before| {
                let gone = before
                    .registration
                    .addresses
                    .difference(&registration.addresses);
                gone.filter(|a| self.addresses.get(a).is_some_and(|ids| ids.len() == 1))
                    .count()
            });
        let wanted = self.addresses.len() + added - freed;
        let limit = self.node.max_addresses;
        if added > 0 && wanted > limit {
            return Err(RegisterError::TooManyAddresses { wanted, limit });
        }
        for address in &registration.addresses {
            let others = self.addresses.get(address).into_iter().flatten();
            let services = others
                .filter(|id| **id != registration.instance)
                .filter_map(|id| self.instances.get(id))
                .map(|instance| &instance.registration)
                .chain([registration])
                .map(|registration| registration.service(State::Ready))
                .collect();
            if let Err(source) = self.codec.encode(&self.endpoint(services)) {
                let (instance, address) = (registration.instance.clone(), *address);
                return Err(RegisterError::TooLarge {
                    instance,
                    address,
                    source,
                });
            }
        }
        Ok(())
    }

    fn endpoint(&self, services: Vec<Service>) -> Endpoint {
        Endpoint {
            classes: self.node.classes.clone(),
            zone: self.node.zone,
            scope: self.node.scope,
            cluster: self.node.cluster,
            record: Record {
                services,
                host: self.node.host.clone(),
                ..Record::default()
            },
            ..Endpoint::new(self.node.key)
        }
        .canonical()
    }

    fn unlink(&mut self, address: IpAddr, id: &InstanceId) {
        if let Entry::Occupied(mut ids) = self.addresses.entry(address) {
            ids.get_mut().remove(id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
        self.dirty.insert(address);
    }
}

/// What is known of a registration before its first check.
fn first_health(registration: &Registration) -> Health {
    if registration.checks.is_empty() {
        Health::Passing
    } else {
        Health::Starting
    }
}

#[cfg(test)]
mod tests;
